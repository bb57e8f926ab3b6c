//! From what is written to what is meant.

use std::{ops::Range, path::Path};

use toml::Spanned;

use super::{
    Config, ConfigError, Malloc,
    file::{self, File, Group, Text},
    values,
};
use crate::{
    census::{GroupRule, GroupRules, Pattern, Property, Rule},
    probes::settings::Forced,
    session::Grouping,
};

/// Each new process is held against all of them.
const MOST_RULES: usize = 256;
/// A hundred thousand series and more: whoever scrapes them notices.
const MOST_GROUPS: i64 = 10_000;

/// A file's text, for saying where in it something is wrong.
pub(super) struct Validator<'a> {
    pub(super) path: &'a Path,
    pub(super) text: &'a str,
}

impl Validator<'_> {
    pub(super) fn config(&self, file: File) -> Result<Config, ConfigError> {
        let defaults = Config::default();
        let web_config = file.web_config.map(Spanned::into_inner).filter(|name| !name.is_empty());
        Ok(Config {
            listen: file.listen.map_or(Ok(defaults.listen), |all| self.listen(all))?,
            // Beside this file, as in Prometheus.
            web_config: web_config.map(|name| {
                self.path.parent().map_or_else(|| name.clone().into(), |folder| folder.join(&name))
            }),
            interval: self.value("interval", file.interval, defaults.interval, values::interval)?,
            backends: self.list("backend", file.backend, |word| {
                Forced::default().add(word).map(|()| word.to_owned())
            })?,
            lookups: file.lookups,
            look_again: self.value(
                "look_again",
                file.look_again,
                defaults.look_again,
                values::look_again,
            )?,
            malloc: self.malloc(file.malloc, defaults.malloc)?,
            grouping: self.grouping(file.groups, file.group, defaults.grouping)?,
        })
    }

    fn listen(&self, all: Spanned<Vec<Text>>) -> Result<Vec<String>, ConfigError> {
        if all.get_ref().is_empty() {
            let message = "listen: no address; give at least one, as in [\"127.0.0.1:9435\"]";
            return Err(self.error(all.span(), message));
        }
        self.list("listen", all.into_inner(), values::address)
    }

    fn malloc(&self, file: file::Malloc, defaults: Malloc) -> Result<Malloc, ConfigError> {
        Ok(Malloc {
            rules: self.list("malloc.rules", file.rules, |text| {
                Rule::parse(text).map_err(|error| error.to_string())
            })?,
            budget: self.value("malloc.budget", file.budget, defaults.budget, values::budget)?,
            window: self.value("malloc.window", file.window, defaults.window, values::window)?,
        })
    }

    fn grouping(
        &self,
        file: file::Groups,
        rules: Vec<Spanned<Group>>,
        defaults: Grouping,
    ) -> Result<Grouping, ConfigError> {
        let most = file.most.map_or(Ok(defaults.most), |most| {
            let fits = (1..=MOST_GROUPS).contains(most.get_ref());
            let number = usize::try_from(*most.get_ref()).ok().filter(|_| fits);
            number.ok_or_else(|| {
                let what = format!("groups.most: {} is too few or too many", most.get_ref());
                self.error(most.span(), &format!("{what}; give 1 to {MOST_GROUPS}"))
            })
        })?;
        let (age, default) = (file.minimum_age, defaults.minimum_age);
        let minimum_age = self.value("groups.minimum_age", age, default, values::minimum_age)?;
        if let Some(first_too_many) = rules.get(MOST_RULES) {
            let message = format!(
                "group: more than {MOST_RULES} rules, which every new process is held against; \
                 put patterns together: (a|b)"
            );
            return Err(self.error(first_too_many.span(), &message));
        }
        let rules: Result<_, _> = rules.into_iter().map(|rule| self.group(rule)).collect();
        Ok(Grouping { rules: GroupRules::new(rules?), most, minimum_age })
    }

    fn group(&self, rule: Spanned<Group>) -> Result<GroupRule, ConfigError> {
        let span = rule.span();
        let Group { name, exe, comm, cmdline, cgroup, unit } = rule.into_inner();
        let patterns = [
            ("exe", Property::Exe, exe),
            ("comm", Property::Comm, comm),
            ("cmdline", Property::Cmdline, cmdline),
            ("cgroup", Property::Cgroup, cgroup),
            ("unit", Property::Unit, unit),
        ];
        let patterns = patterns.into_iter().filter_map(|(key, property, text)| {
            let text = text?;
            let pattern = Pattern::new(text.get_ref()).map_err(|why| {
                let what = format!("group.{key}: {}: {why}", text.get_ref());
                self.error(text.span(), &format!("{what}; give a regular expression"))
            });
            Some(pattern.map(|pattern| (property, pattern)))
        });
        let patterns: Vec<_> = patterns.collect::<Result<_, _>>()?;
        if patterns.is_empty() {
            let message = "group: no pattern, so that it would be everything; \
                 give one or more of exe, comm, cmdline, cgroup and unit";
            return Err(self.error(span, message));
        }
        let Some(name) = name else {
            return Err(self.error(span, "group: no name; give name = \"…\""));
        };
        let wrong = |why: &str| {
            let what = format!("group.name: {}: {why}", name.get_ref());
            self.error(name.span(), &what)
        };
        if name.get_ref().is_empty() || name.get_ref().starts_with('~') {
            return Err(wrong("empty, or with a ~ as alloctrace's own groups; give another name"));
        }
        GroupRule::new(name.get_ref(), patterns).map_err(|why| wrong(&why))
    }

    /// A value, or the default where there is none.
    fn value<T>(
        &self,
        key: &str,
        text: Option<Text>,
        default: T,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        text.map_or(Ok(default), |text| self.one(key, &text, parse))
    }

    fn list<T>(
        &self,
        key: &str,
        texts: Vec<Text>,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, ConfigError> {
        texts.iter().map(|text| self.one(key, text, &parse)).collect()
    }

    fn one<T>(
        &self,
        key: &str,
        text: &Text,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        let value = text.get_ref();
        parse(value).map_err(|why| {
            // Some say themselves what they are about.
            let why = why.strip_prefix(&format!("{value}: ")).unwrap_or(&why);
            self.error(text.span(), &format!("{key}: \"{value}\": {why}"))
        })
    }

    pub(super) fn syntax(&self, error: &toml::de::Error) -> ConfigError {
        let message = format!("{}; see the sample alloctrace.toml", error.message());
        self.error(error.span().unwrap_or_default(), &message)
    }

    fn error(&self, span: Range<usize>, message: &str) -> ConfigError {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        ConfigError { file: self.path.to_owned(), line: Some(line), message: message.to_owned() }
    }
}
