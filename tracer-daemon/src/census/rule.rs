//! Which processes somebody means.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
};

use super::group::unit_is;

/// A property that processes are chosen by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// The executable's file name.
    Name(String),
    /// The executable's path, as the process sees it.
    Path(PathBuf),
    /// The systemd unit.
    Unit(String),
    /// A control group, without a `/` at its end, and all below it.
    Cgroup(String),
}

/// A text that is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}: {why}")]
pub struct RuleError {
    text: String,
    why: &'static str,
}

impl Rule {
    /// From `exe=NAME`, `exe=/path`, `unit=NAME.service` or `cgroup=/path`.
    ///
    /// # Errors
    /// For any other text.
    pub fn parse(text: &str) -> Result<Self, RuleError> {
        let rule = match text.split_once('=') {
            Some(("exe", path)) if path.starts_with('/') => Ok(Self::Path(path.into())),
            Some(("exe", "")) => Err("no name; give exe=NAME or exe=/path"),
            Some(("exe", name)) if name.contains('/') => {
                Err("neither a name nor a full path; give exe=NAME or exe=/path")
            }
            Some(("exe", name)) => Ok(Self::Name(name.to_owned())),
            Some(("unit", unit)) if unit.len() > ".service".len() && unit.ends_with(".service") => {
                Ok(Self::Unit(unit.to_owned()))
            }
            Some(("unit", _)) => Err("not the name of a service; give unit=NAME.service"),
            Some(("cgroup", path)) if path.starts_with('/') => {
                Ok(Self::Cgroup(path.trim_end_matches('/').to_owned()))
            }
            Some(("cgroup", _)) => {
                Err("not a path from the top on; give cgroup=/path as in /proc/PID/cgroup")
            }
            _ => Err("no such rule; give exe=NAME, exe=/path, unit=NAME.service or cgroup=/path"),
        };
        rule.map_err(|why| RuleError { text: text.to_owned(), why })
    }

    /// Whether a process is meant.
    #[must_use]
    pub fn matches(&self, cgroup: Option<&str>, exe: Option<&Path>) -> bool {
        match self {
            Self::Name(name) => exe.and_then(Path::file_name) == Some(OsStr::new(name)),
            Self::Path(path) => exe == Some(path),
            Self::Unit(unit) => cgroup.is_some_and(|cgroup| unit_is(cgroup, unit)),
            Self::Cgroup(path) => cgroup
                .and_then(|cgroup| cgroup.strip_prefix(path.as_str()))
                .is_some_and(|below| below.is_empty() || below.starts_with('/')),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn matches(rule: &str, cgroup: &str, exe: &str) -> bool {
        Rule::parse(rule).unwrap().matches(Some(cgroup), Some(Path::new(exe)))
    }

    #[test]
    fn executables_go_by_name_or_path() {
        assert!(matches("exe=redis-server", "/", "/usr/bin/redis-server"));
        assert!(matches("exe=a=b", "/", "/bin/a=b"));
        assert!(!matches("exe=redis", "/", "/usr/bin/redis-server"));
        assert!(matches("exe=/usr/bin/app", "/", "/usr/bin/app"));
        assert!(!matches("exe=/usr/bin/app", "/", "/opt/usr/bin/app"));
        assert!(!matches("exe=bin", "/", "/usr/bin/app"));
    }

    #[test]
    fn a_unit_is_the_deepest_service() {
        let unit = "unit=my-app.service";
        for cgroup in [
            "/system.slice/my-app.service",
            "/system.slice/my-app.service/worker",
            r"/system.slice/my\x2dapp.service",
            "/user.slice/user-0.slice/user@0.service/app.slice/my-app.service",
        ] {
            assert!(matches(unit, cgroup, "/bin/app"), "{cgroup}");
        }
        for cgroup in [
            "/",
            "/system.slice/app.service",
            "/system.slice/my-app.service.d",
            "/system.slice/my-app.service/below.service",
        ] {
            assert!(!matches(unit, cgroup, "/bin/my-app.service"), "{cgroup}");
        }
        assert!(matches("unit=run-u12.service", "/system.slice/run-u12.service", "/bin/app"));
        assert!(matches(r"unit=my\x2dapp.service", r"/a.slice/my\x2dapp.service", "/bin/app"));
    }

    #[test]
    fn a_control_group_holds_what_is_below_it() {
        for rule in ["cgroup=/a/b", "cgroup=/a/b/"] {
            assert!(matches(rule, "/a/b", "/bin/app"));
            assert!(matches(rule, "/a/b/c", "/bin/app"));
            assert!(!matches(rule, "/a/bc", "/bin/app"));
            assert!(!matches(rule, "/a", "/bin/app"));
            assert!(!matches(rule, "/x/a/b", "/bin/app"));
        }
        assert!(matches("cgroup=/", "/a", "/bin/app") && matches("cgroup=/", "/", "/bin/app"));
    }

    #[test]
    fn what_is_not_known_matches_nothing() {
        for rule in ["exe=app", "exe=/app", "unit=a.service", "cgroup=/"] {
            assert!(!Rule::parse(rule).unwrap().matches(None, None), "{rule}");
        }
    }

    #[test]
    fn other_texts_are_no_rules() {
        let texts = [
            "",
            "exe",
            "exe=",
            "exe=./app",
            "exe=bin/app",
            "unit=",
            "unit=.service",
            "unit=a.scope",
            "cgroup=",
            "cgroup=a",
            "pid=1",
            "EXE=a",
        ];
        for text in texts {
            let error = Rule::parse(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{text}: ")), "{error}");
            assert!(error.contains("give ") && !error.contains('\n'), "{error}");
        }
    }
}
