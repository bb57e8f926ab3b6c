//! Groups as an administrator wants them.

use std::{borrow::Cow, path::Path};

use regex::Captures;

use super::{
    group::{GroupName, LABEL_LENGTH, default_name, unit_of},
    name_template::NameTemplate,
    pattern::Pattern,
};

/// What a process's group is told from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Subject<'a> {
    /// The executable's path, as the process sees it.
    pub exe: Option<&'a Path>,
    /// The kernel's name for it.
    pub comm: &'a str,
    /// Its arguments, with spaces between them.
    pub cmdline: Option<&'a str>,
    /// Its control group.
    pub cgroup: Option<&'a str>,
}

/// What a pattern is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Property {
    /// [`Subject::exe`].
    Exe,
    /// [`Subject::comm`].
    Comm,
    /// [`Subject::cmdline`].
    Cmdline,
    /// [`Subject::cgroup`].
    Cgroup,
    /// The systemd unit: the innermost service of the control group's path, else its innermost scope.
    Unit,
}

/// All processes that match, and the name of their group.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupRule {
    patterns: Vec<(Property, Pattern)>,
    name: NameTemplate,
}

/// Rules in the order in which they are tried.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GroupRules(Vec<GroupRule>);

impl Subject<'_> {
    /// What is not known matches no pattern.
    fn property(&self, property: Property) -> Option<Cow<'_, str>> {
        match property {
            Property::Exe => self.exe.map(Path::to_string_lossy),
            Property::Comm => Some(self.comm.into()),
            Property::Cmdline => self.cmdline.map(Cow::from),
            Property::Cgroup => self.cgroup.map(Cow::from),
            Property::Unit => self.cgroup.and_then(unit_of).map(Cow::from),
        }
    }
}

impl GroupRule {
    /// Processes that match all patterns; the name may refer to what those capture.
    ///
    /// # Errors
    /// Half a line for a name that refers to what no pattern captures.
    pub fn new(name: &str, patterns: Vec<(Property, Pattern)>) -> Result<Self, String> {
        let all: Vec<_> = patterns.iter().map(|(_, pattern)| pattern).collect();
        let name = NameTemplate::parse(name, &all)?;
        Ok(Self { patterns, name })
    }

    fn name(&self, subject: &Subject<'_>) -> Option<GroupName> {
        let texts: Option<Vec<_>> =
            self.patterns.iter().map(|(property, _)| subject.property(*property)).collect();
        let texts = texts?;
        let matches: Option<Vec<Captures<'_>>> =
            self.patterns.iter().zip(&texts).map(|((_, one), text)| one.captures(text)).collect();
        let name: String = self.name.expand(&matches?).chars().take(LABEL_LENGTH).collect();
        (!name.is_empty()).then(|| GroupName { name, is_lasting: self.name.is_fixed() })
    }
}

impl GroupRules {
    /// These, in this order.
    #[must_use]
    pub const fn new(rules: Vec<GroupRule>) -> Self {
        Self(rules)
    }

    /// Whether a rule asks for arguments.
    #[must_use]
    pub fn ask_for_cmdline(&self) -> bool {
        let mut patterns = self.0.iter().flat_map(|rule| &rule.patterns);
        patterns.any(|(property, _)| *property == Property::Cmdline)
    }

    /// The group of a process: by the first rule that matches and gives a name which is not empty,
    /// else [`default_name`].
    #[must_use]
    pub fn group(&self, subject: &Subject<'_>) -> GroupName {
        let by_rule = self.0.iter().find_map(|rule| rule.name(subject));
        by_rule.unwrap_or_else(|| default_name(subject.cgroup, subject.exe, subject.comm))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const WORKER: Subject<'_> = Subject {
        exe: None,
        comm: "worker",
        cmdline: Some("python3 -m shop.worker --queue mail"),
        cgroup: Some(r"/system.slice/shop\x2dworker@3.service"),
    };

    fn rule(name: &str, patterns: &[(Property, &str)]) -> GroupRule {
        let patterns =
            patterns.iter().map(|(property, text)| (*property, Pattern::new(text).unwrap()));
        GroupRule::new(name, patterns.collect()).unwrap()
    }

    fn group(rules: Vec<GroupRule>, subject: &Subject<'_>) -> String {
        GroupRules::new(rules).group(subject).name
    }

    #[test]
    fn each_property_is_matched_as_a_whole() {
        let worker = Subject { exe: Some(Path::new("/usr/bin/python3.13")), ..WORKER };
        for (property, pattern) in [
            (Property::Exe, "/usr/bin/python[0-9.]+"),
            (Property::Comm, "work.*"),
            (Property::Cmdline, ".* -m shop[.]worker .*"),
            (Property::Cgroup, "/system[.]slice/.*"),
            (Property::Unit, r"shop-worker@\d+[.]service"),
        ] {
            let half = pattern.trim_end_matches(".*").trim_end_matches('+');
            assert_eq!(group(vec![rule("found", &[(property, pattern)])], &worker), "found");
            if half != pattern {
                assert_ne!(group(vec![rule("found", &[(property, half)])], &worker), "found");
            }
            let unknown = Subject { comm: "", ..Subject::default() };
            assert_ne!(group(vec![rule("found", &[(property, pattern)])], &unknown), "found");
        }
    }

    #[test]
    fn the_first_rule_that_matches_in_all_names_the_group() {
        let rules = || {
            vec![
                rule("no", &[(Property::Comm, "worker"), (Property::Exe, "/bin/sh")]),
                rule("queue-$1", &[(Property::Cmdline, ".*--queue (.*)")]),
                rule("later", &[(Property::Comm, ".*")]),
            ]
        };
        assert_eq!(group(rules(), &WORKER), "queue-mail");
        assert_eq!(group(rules(), &Subject { cmdline: None, ..WORKER }), "later");
        let both = rule(
            "$unit/$queue",
            &[(Property::Unit, "(?<unit>[^@]*).*"), (Property::Cmdline, ".*--queue (?<queue>.*)")],
        );
        assert_eq!(group(vec![both], &WORKER), "shop-worker/mail");
    }

    #[test]
    fn a_name_that_comes_out_empty_is_none() {
        let empty = rule("$1", &[(Property::Comm, "worker(.*)")]);
        assert_eq!(group(vec![empty], &WORKER), "shop-worker@3.service");
        assert_eq!(group(Vec::new(), &WORKER), "shop-worker@3.service");
    }

    #[test]
    fn names_made_of_foreign_text_have_an_end() {
        let long = "é".repeat(3000);
        let subject = Subject { cmdline: Some(&long), ..WORKER };
        let name = group(vec![rule("$1$1", &[(Property::Cmdline, "(.*)")])], &subject);
        assert_eq!(name.chars().count(), LABEL_LENGTH);
    }

    #[test]
    fn only_a_name_without_captures_lasts() {
        let lasts = |rule| GroupRules::new(vec![rule]).group(&WORKER).is_lasting;
        assert!(lasts(rule("shop", &[(Property::Comm, "worker")])));
        assert!(!lasts(rule("shop-$0", &[(Property::Comm, "worker")])));
    }

    #[test]
    fn arguments_are_asked_for_by_rules_about_them() {
        let rules = |property| GroupRules::new(vec![rule("a", &[(property, "a")])]);
        assert!(rules(Property::Cmdline).ask_for_cmdline());
        assert!(!rules(Property::Exe).ask_for_cmdline());
    }
}
