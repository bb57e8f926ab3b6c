//! A Debian with systemd on a disk: made once, kept, and left as it is by every boot.

use super::{
    apt::{self, Apt},
    guest::{Machine, Outcome},
    kernel, modules, root,
};
use crate::sh;
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// The smallest Debian has neither an init nor anything to look at it with.
const PACKAGES: [&str; 17] = [
    "systemd",
    "systemd-sysv",
    "dbus",
    "kmod",
    "udev",
    "iproute2",
    "procps",
    "curl",
    "openssl",
    "jq",
    "bpftool",
    "prometheus",
    "rpm",
    "podman",
    // What its containers need; debootstrap knows no recommended packages, nor virtual ones.
    "netavark",
    "iptables",
    "catatonit",
];
/// The smallest Debian as an archive, for containers: what the image `debian:RELEASE-slim` is made of.
const BASE: &str = "usr/share/base.tar";
/// What that image goes without.
const SLIMMED: [&str; 5] = [
    "./usr/share/doc/*",
    "./usr/share/man/*",
    "./usr/share/locale/*",
    "./var/cache/apt/*",
    "./var/lib/apt/lists/*",
];
const CONFIGURE: &str = include_str!("debian/configure.sh");
const INIT: &str = include_str!("debian/init.sh");
/// In MiB: what the packages take, and as much again for containers.
const DISK: u32 = 3000;
const MEMORY: u64 = 1536;

/// A system to boot.
pub(crate) struct Debian {
    folder: PathBuf,
}

impl Debian {
    /// The release that this machine has, for its programs and libraries fit each other. Needs root to be made.
    pub(crate) fn ensure() -> Result<Self> {
        let suite = suite()?;
        let debian = Self { folder: super::folder().join("debian").join(&suite) };
        let recipe = format!("{suite} {PACKAGES:?} {SLIMMED:?} {DISK}\n{CONFIGURE}\n{INIT}");
        let written = debian.folder.join("recipe");
        if fs::read_to_string(&written).is_ok_and(|made| made == recipe) {
            return Ok(debian);
        }
        eprintln!("vm: making a Debian {suite} with systemd (three minutes, once)");
        debian.make(&suite).with_context(|| format!("cannot make a Debian {suite}"))?;
        fs::write(written, recipe)?;
        Ok(debian)
    }

    /// Boots it with these files in `/guest`, executes `/guest/begin` and waits for what that hands over as
    /// `/guest/exit CODE`, at most `limit`.
    pub(crate) fn boot(&self, files: &Path, marker: &str, limit: Duration) -> Result<Outcome> {
        root::compile_exit(&files.join("exit"))?;
        fs::write(files.join("marker"), marker)?;
        let disk = files.with_extension("img");
        make_disk(files, &disk, 400)?;
        let machine = Machine {
            kernel: &self.folder.join("vmlinuz"),
            initrd: &self.folder.join("initrd"),
            drives: &[&self.folder.join("root.img"), &disk],
            memory: MEMORY,
            may_restart: true,
        };
        let outcome = machine.run(&files.join("log"), marker, limit);
        fs::remove_file(disk)?;
        outcome
    }

    fn make(&self, suite: &str) -> Result<()> {
        if !sh::is_root() {
            bail!("only root can, for it has files of many owners: run as root (sudo)");
        }
        clear(&self.folder)?;
        fs::create_dir_all(&self.folder)?;
        let (tree, unpacked) = (self.folder.join("tree"), self.folder.join("kernel"));
        debootstrap(suite, &PACKAGES, &tree)?;
        self.make_base(suite, &tree.join(BASE))?;

        let release = kernel::unpack(&Apt::open(suite)?, &unpacked)?;
        fs::copy(kernel::image(&unpacked, &release)?, self.folder.join("vmlinuz"))?;
        let modules = tree.join("usr/lib/modules");
        fs::create_dir_all(&modules)?;
        let modules = modules.join(&release);
        sh::run(
            Command::new("cp").arg("-r").arg(kernel::modules(&unpacked, &release)).arg(&modules),
        )?;
        configure(&tree)?;
        self.make_initrd(&modules)?;
        make_disk(&tree, &self.folder.join("root.img"), DISK)?;
        clear(&tree)?;
        clear(&unpacked)
    }

    fn make_base(&self, suite: &str, archive: &Path) -> Result<()> {
        let tree = self.folder.join("base");
        debootstrap(suite, &[], &tree)?;
        let mut tar = Command::new("tar");
        tar.args(["--create", "--numeric-owner", "--file"]).arg(archive).arg("--directory");
        tar.arg(&tree).args(SLIMMED.map(|files| format!("--exclude={files}"))).arg(".");
        sh::output(&mut tar)?;
        clear(&tree)
    }

    /// What finds the disk.
    fn make_initrd(&self, modules: &Path) -> Result<()> {
        let tree = self.folder.join("initrd-tree");
        root::make(&tree)?;
        let busybox = sh::find("busybox").context("busybox is not in PATH")?;
        root::copy(&busybox, &tree, Path::new("/usr/bin/busybox"))?;
        let wanted = ["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"];
        modules::take(modules, &wanted, &tree.join("modules"))?;
        root::write_init(&tree, INIT)?;
        root::archive(&tree, &self.folder.join("initrd"))?;
        clear(&tree)
    }
}

/// This machine's release.
fn suite() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("this is not a Debian")?;
    let name = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    Ok(name.context("this is not a Debian: /etc/os-release has no VERSION_CODENAME")?.to_owned())
}

fn debootstrap(suite: &str, packages: &[&str], tree: &Path) -> Result<()> {
    // In a mount namespace of its own: what it mounts is gone with it, however it ends.
    let mut command = Command::new("unshare");
    command.args(["--mount", "debootstrap", "--variant=minbase"]);
    if !packages.is_empty() {
        command.arg(format!("--include={}", packages.join(",")));
    }
    sh::output(command.arg(suite).arg(tree).arg(apt::mirror()?)).map(drop)
}

fn configure(tree: &Path) -> Result<()> {
    let script = tree.join("configure");
    fs::write(&script, CONFIGURE)?;
    let mut command = Command::new("chroot");
    command.arg(tree).args(["/bin/sh", "/configure"]).env("PATH", "/usr/sbin:/usr/bin");
    sh::output(command.stdin(Stdio::null()))?;
    Ok(fs::remove_file(script)?)
}

fn make_disk(tree: &Path, disk: &Path, mebibytes: u32) -> Result<()> {
    let mut mke2fs = Command::new("mke2fs");
    // Without a journal: nobody reads the disk once the machine is off.
    mke2fs.args(["-q", "-F", "-t", "ext4", "-O", "^has_journal", "-d"]).arg(tree).arg(disk);
    sh::output(mke2fs.arg(format!("{mebibytes}M"))).map(drop)
}

/// Removes a tree, and nothing that is mounted in it.
fn clear(tree: &Path) -> Result<()> {
    sh::run(Command::new("rm").args(["-rf", "--one-file-system"]).arg(tree))
}
