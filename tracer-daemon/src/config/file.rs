//! The file as it is written: every key there is, and nothing checked but its type.

use serde::Deserialize;
use toml::Spanned;

/// A text, and where it stands.
pub(super) type Text = Spanned<String>;

#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub(super) listen: Option<Spanned<Vec<Text>>>,
    pub(super) web_config: Option<Text>,
    pub(super) interval: Option<Text>,
    pub(super) backend: Vec<Text>,
    pub(super) lookups: bool,
    pub(super) look_again: Option<Text>,
    pub(super) malloc: Malloc,
    pub(super) groups: Groups,
    pub(super) group: Vec<Spanned<Group>>,
}

#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(super) struct Malloc {
    pub(super) rules: Vec<Text>,
    pub(super) budget: Option<Text>,
    pub(super) window: Option<Text>,
}

#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(super) struct Groups {
    pub(super) most: Option<Spanned<i64>>,
    pub(super) minimum_age: Option<Text>,
}

#[derive(Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub(super) struct Group {
    pub(super) name: Option<Text>,
    pub(super) exe: Option<Text>,
    pub(super) comm: Option<Text>,
    pub(super) cmdline: Option<Text>,
    pub(super) cgroup: Option<Text>,
    pub(super) unit: Option<Text>,
}
