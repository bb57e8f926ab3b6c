//! The folders and files of a guest's root, and their archive.

use crate::sh;
use anyhow::{Context, Result, bail};
use std::{
    fs::{self, File},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The folders of a Debian, where /bin and its like lead to /usr.
pub(super) fn make(root: &Path) -> Result<()> {
    for folder in ["guest", "etc", "usr/bin"] {
        fs::create_dir_all(root.join(folder))
            .with_context(|| format!("cannot make {}", root.display()))?;
    }
    for link in ["bin", "sbin", "lib", "lib64"] {
        fs::create_dir_all(root.join("usr").join(link))?;
        symlink(format!("usr/{link}"), root.join(link))?;
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n")?;
    Ok(())
}

/// Puts the file `host` where the guest sees it as `guest`.
pub(super) fn copy(host: &Path, root: &Path, guest: &Path) -> Result<()> {
    let to = root.join(guest.strip_prefix("/").unwrap_or(guest));
    fs::create_dir_all(to.parent().unwrap_or(root))?;
    fs::copy(host, to).with_context(|| format!("cannot take {} along", host.display()))?;
    Ok(())
}

/// Puts the program there that the kernel starts.
pub(super) fn write_init(root: &Path, script: &str) -> Result<()> {
    fs::write(root.join("init"), script)?;
    Ok(fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?)
}

/// The shared libraries of a program, the loader among them; none of a file that is no program.
pub(super) fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("cannot start ldd")?;
    let listing = String::from_utf8_lossy(&output.stdout);
    if let Some(missing) = listing.lines().find(|line| line.ends_with("not found")) {
        bail!("{} needs a library that is not here: {}", program.display(), missing.trim());
    }
    Ok(library_paths(&listing))
}

fn library_paths(listing: &str) -> Vec<PathBuf> {
    let words = listing
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    words.map(PathBuf::from).collect()
}

/// Builds the program that hands the exit code to QEMU.
pub(super) fn compile_exit(to: &Path) -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/vm/exit.c");
    sh::run(Command::new("gcc").args(["-O2", "-static", "-o"]).arg(to).arg(source))
}

/// Uncompressed: QEMU hands it over in one piece, and an emulated CPU inflates slowly.
pub(super) fn archive(root: &Path, initrd: &Path) -> Result<()> {
    let output =
        File::create(initrd).with_context(|| format!("cannot write {}", initrd.display()))?;
    let mut find =
        Command::new("find").arg(".").current_dir(root).stdout(Stdio::piped()).spawn()?;
    let names = find.stdout.take().context("find has no output")?;
    let mut cpio = Command::new("cpio");
    cpio.args(["-o", "-H", "newc", "--quiet"]).current_dir(root).stdin(names).stdout(output);
    let packed = sh::run(&mut cpio);
    let listed = find.wait()?;
    packed?;
    if !listed.success() {
        bail!("`find` failed in {}: {listed}", root.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::library_paths;
    use std::path::PathBuf;

    #[test]
    fn libraries_are_read_from_ldd() {
        let listing = "\tlinux-vdso.so.1 (0x7f)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7f)\n\t/lib64/ld.so (0x7f)\n";
        assert_eq!(library_paths(listing), ["/lib/x/libc.so.6", "/lib64/ld.so"].map(PathBuf::from));
        assert_eq!(library_paths("\tnot a dynamic executable\n"), Vec::<PathBuf>::new());
    }
}
