//! Who may read: TLS and passwords, from a web configuration file as Prometheus's own exporters have it.

mod file;
mod tls;
mod users;

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use rustls::ServerConfig;

pub use self::file::FileError;
use self::file::Material;
pub(super) use self::users::Users;

/// How often a file that is no good is complained about.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(60);

/// What a connection has to do before it is answered.
#[derive(Default)]
pub(super) struct Access {
    pub(super) tls: Option<Arc<ServerConfig>>,
    pub(super) users: Option<Arc<Users>>,
}

/// The file, and what it said when it was last good.
pub struct Guard {
    path: PathBuf,
    material: Material,
    access: Arc<Access>,
    complained: Option<Instant>,
}

impl Guard {
    /// Reads the file and what it names.
    ///
    /// # Errors
    /// When one of them is no good.
    pub fn open(path: PathBuf) -> Result<Self, FileError> {
        let material = Material::read(&path)?;
        let access = Arc::new(material.access(&path)?);
        Ok(Self { path, material, access, complained: None })
    }

    /// Whether connections are encrypted.
    #[must_use]
    pub fn encrypts(&self) -> bool {
        self.access.tls.is_some()
    }

    /// What holds for a connection that begins now. The files are small, and a connection is a scrape: they
    /// are read for each. What is no good changes nothing.
    pub(super) fn current(&mut self, now: Instant) -> Arc<Access> {
        match self.refresh() {
            Ok(()) => {
                if self.complained.take().is_some() {
                    log::warn!("{} is good again", self.path.display());
                }
            }
            Err(error) if self.may_complain(now) => {
                log::warn!("{error}; what it said before stays in force");
                self.complained = Some(now);
            }
            Err(_) => {}
        }
        Arc::clone(&self.access)
    }

    fn refresh(&mut self) -> Result<(), FileError> {
        let material = Material::read(&self.path)?;
        if material != self.material {
            self.access = Arc::new(material.access(&self.path)?);
            self.material = material;
        }
        Ok(())
    }

    fn may_complain(&self, now: Instant) -> bool {
        self.complained.is_none_or(|last| now.saturating_duration_since(last) >= COMPLAINT_INTERVAL)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    #[test]
    fn what_is_no_good_changes_nothing_and_is_said_now_and_then() {
        let directory = TempDir::new().expect("a directory");
        let path = directory.path().join("web.yml");
        let hash = bcrypt::hash("secret", 4).expect("hashed");
        let users = format!("basic_auth_users:\n  ann: {hash}\n");
        fs::write(&path, &users).expect("written");
        let mut guard = Guard::open(path.clone()).expect("good");
        let now = Instant::now();
        let first = guard.current(now);
        assert!(first.users.is_some() && !guard.encrypts());
        assert!(Arc::ptr_eq(&first, &guard.current(now)), "unchanged");

        fs::write(&path, "basic_auth_user: {}\n").expect("written");
        assert!(guard.may_complain(now));
        assert!(Arc::ptr_eq(&first, &guard.current(now)), "the last good one");
        assert!(!guard.may_complain(now + COMPLAINT_INTERVAL / 2));
        assert!(guard.may_complain(now + COMPLAINT_INTERVAL));
        fs::remove_file(&path).expect("removed");
        assert!(Arc::ptr_eq(&first, &guard.current(now)), "still");

        fs::write(&path, users.replace("ann", "bob")).expect("written");
        assert!(!Arc::ptr_eq(&first, &guard.current(now)), "the new one");
        assert!(guard.complained.is_none());
    }
}
