//! The initial RAM disk that is a guest's whole system.

use crate::sh;
use anyhow::{Context, Result, bail};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs::{self, File},
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

/// What a machine is to run.
pub(crate) struct Guest {
    /// Files to take along: where each is, and where it goes. Their libraries come by themselves.
    pub(crate) files: Vec<(PathBuf, PathBuf)>,
    /// The command's environment, beside `PATH` and `HOME`.
    pub(crate) env: Vec<(String, String)>,
    /// The command and its arguments.
    pub(crate) command: Vec<String>,
}

/// A guest's system, ready to boot under any kernel; gone when dropped.
pub(crate) struct Image {
    folder: PathBuf,
    /// What the lines around the command's output start with.
    pub(super) marker: String,
}

impl Guest {
    /// Makes the RAM disk.
    pub(crate) fn pack(&self) -> Result<Image> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!(
            "{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = super::folder().join("run").join(&name);
        let image = Image {
            folder,
            marker: format!("alloctrace-guest-{name}"),
        };
        let root = image.folder.join("root");
        make_tree(&root)?;

        let busybox =
            sh::find("busybox").context("busybox is not in PATH: install busybox-static")?;
        let mut files: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
        for (host, guest) in self
            .files
            .iter()
            .cloned()
            .chain([(busybox, "/usr/bin/busybox".into())])
        {
            files.extend(
                libraries(&host)?
                    .into_iter()
                    .map(|library| (library.clone(), library)),
            );
            files.insert(guest, host);
        }
        for (guest, host) in &files {
            copy(host, &inside(&root, guest))?;
        }
        compile_exit(&root.join("guest/exit"))?;
        fs::write(root.join("guest/marker"), &image.marker)?;
        fs::write(root.join("guest/command"), self.script())?;
        fs::write(root.join("init"), include_str!("init.sh"))?;
        fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755))?;
        archive(&root, &image.initrd())?;
        fs::remove_dir_all(root)?;
        Ok(image)
    }

    fn script(&self) -> String {
        let mut script = String::new();
        for (name, value) in &self.env {
            let _ = writeln!(script, "export {name}={}", quote(value));
        }
        let words: Vec<String> = self.command.iter().map(|word| quote(word)).collect();
        script + "exec " + &words.join(" ") + "\n"
    }
}

impl Image {
    /// The RAM disk.
    pub(super) fn initrd(&self) -> PathBuf {
        self.folder.join("initrd")
    }

    /// Where the serial console of a boot of `kernel` is written.
    pub(super) fn log(&self, kernel: &Path) -> PathBuf {
        let name = kernel.file_name().unwrap_or_default().to_string_lossy();
        self.folder.join(format!("{name}.log"))
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // Under target/, where what cannot be removed does no harm.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The folders of a Debian, where /bin and its like lead to /usr.
fn make_tree(root: &Path) -> Result<()> {
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

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn copy(host: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().unwrap_or(to))?;
    fs::copy(host, to).with_context(|| format!("cannot take {} along", host.display()))?;
    Ok(())
}

/// The shared libraries of a program, the loader among them; none of a file that is no program.
fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .context("cannot start ldd")?;
    let listing = String::from_utf8_lossy(&output.stdout);
    if let Some(missing) = listing.lines().find(|line| line.ends_with("not found")) {
        bail!(
            "{} needs a library that is not here: {}",
            program.display(),
            missing.trim()
        );
    }
    Ok(library_paths(&listing))
}

fn library_paths(listing: &str) -> Vec<PathBuf> {
    let words = listing
        .lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    words.map(PathBuf::from).collect()
}

fn compile_exit(to: &Path) -> Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/vm/exit.c");
    sh::run(
        Command::new("gcc")
            .args(["-O2", "-static", "-o"])
            .arg(to)
            .arg(source),
    )
}

/// Uncompressed: QEMU hands it over in one piece, and an emulated CPU inflates slowly.
fn archive(root: &Path, initrd: &Path) -> Result<()> {
    let output =
        File::create(initrd).with_context(|| format!("cannot write {}", initrd.display()))?;
    let mut find = Command::new("find")
        .arg(".")
        .current_dir(root)
        .stdout(Stdio::piped())
        .spawn()?;
    let names = find.stdout.take().context("find has no output")?;
    let mut cpio = Command::new("cpio");
    cpio.args(["-o", "-H", "newc", "--quiet"])
        .current_dir(root)
        .stdin(names)
        .stdout(output);
    let packed = sh::run(&mut cpio);
    let listed = find.wait()?;
    packed?;
    if !listed.success() {
        bail!("`find` failed in {}: {listed}", root.display());
    }
    Ok(())
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::{Guest, library_paths};
    use std::path::PathBuf;

    #[test]
    fn words_reach_the_guest_as_they_are() {
        let guest = Guest {
            files: Vec::new(),
            env: vec![("A".into(), "it's $1".into())],
            command: vec!["echo".into(), "a  b".into()],
        };
        assert_eq!(
            guest.script(),
            "export A='it'\\''s $1'\nexec 'echo' 'a  b'\n"
        );
    }

    #[test]
    fn libraries_are_read_from_ldd() {
        let listing = "\tlinux-vdso.so.1 (0x7f)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7f)\n\t/lib64/ld.so (0x7f)\n";
        assert_eq!(
            library_paths(listing),
            ["/lib/x/libc.so.6", "/lib64/ld.so"].map(PathBuf::from)
        );
        assert_eq!(
            library_paths("\tnot a dynamic executable\n"),
            Vec::<PathBuf>::new()
        );
    }
}
