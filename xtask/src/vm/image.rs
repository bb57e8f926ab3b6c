//! The initial RAM disk that is a guest's whole system.

use super::{
    guest::{Machine, Outcome},
    root,
};
use crate::sh;
use anyhow::{Context, Result};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
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
    marker: String,
}

impl Guest {
    /// Makes the RAM disk.
    pub(crate) fn pack(&self) -> Result<Image> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let folder = super::folder().join("run").join(&name);
        let image = Image { folder, marker: format!("alloctrace-guest-{name}") };
        let root = image.folder.join("root");
        root::make(&root)?;

        let busybox =
            sh::find("busybox").context("busybox is not in PATH: install busybox-static")?;
        // By guest path, because programs share libraries.
        let mut files = BTreeMap::from([(PathBuf::from("/usr/bin/busybox"), busybox)]);
        files.extend(self.files.iter().map(|(host, guest)| (guest.clone(), host.clone())));
        for host in files.clone().values() {
            let libraries = root::libraries(host)?.into_iter();
            files.extend(libraries.map(|library| (library.clone(), library)));
        }
        for (guest, host) in &files {
            root::copy(host, &root, guest)?;
        }
        root::compile_exit(&root.join("guest/exit"))?;
        fs::write(root.join("guest/marker"), &image.marker)?;
        fs::write(root.join("guest/command"), self.script())?;
        root::write_init(&root, include_str!("init.sh"))?;
        root::archive(&root, &image.initrd())?;
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
    /// Boots `kernel` and waits for the command's end, at most `limit`.
    pub(crate) fn boot(&self, kernel: &Path, limit: Duration) -> Result<Outcome> {
        let initrd = self.initrd();
        let machine = Machine {
            kernel,
            // The RAM disk is in memory twice while the kernel unpacks it.
            memory: 1024 + 2 * (fs::metadata(&initrd)?.len() >> 20),
            initrd: &initrd,
            drives: &[],
            may_restart: false,
        };
        machine.run(&self.log(kernel), &self.marker, limit)
    }

    /// The RAM disk.
    fn initrd(&self) -> PathBuf {
        self.folder.join("initrd")
    }

    /// Where the serial console of a boot of `kernel` is written.
    fn log(&self, kernel: &Path) -> PathBuf {
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

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::Guest;

    #[test]
    fn words_reach_the_guest_as_they_are() {
        let guest = Guest {
            files: Vec::new(),
            env: vec![("A".into(), "it's $1".into())],
            command: vec!["echo".into(), "a  b".into()],
        };
        assert_eq!(guest.script(), "export A='it'\\''s $1'\nexec 'echo' 'a  b'\n");
    }
}
