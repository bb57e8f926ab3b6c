//! What `/proc` and the control groups say about processes, read below a root path so that tests
//! can make one up.
//!
//! The `procfs` crate's parsers are not used: a comm or path that is not UTF-8 makes them fail,
//! and a mapped file named `/SYSV` makes them panic.

pub mod address_space;
mod area_count;
mod areas;
mod cgroup_names;
mod cgroup_namespace;
mod cpu_clock;
mod group;
mod group_rule;
mod image;
mod maps;
mod name_template;
mod pattern;
mod process;
mod root;
mod rule;
mod stat;
mod threads;

#[cfg(test)]
mod fake;

pub use area_count::AreaCount;
pub use areas::AreaReading;
pub use cgroup_names::CgroupNames;
pub use cgroup_namespace::CgroupNamespace;
pub use cpu_clock::cpu_clock_ns;
pub use group::{GroupName, default_name};
pub use group_rule::{GroupRule, GroupRules, Property, Subject};
pub use image::Image;
pub use maps::Area;
pub use pattern::Pattern;
pub use root::{CensusError, ProcRoot};
pub use rule::{Rule, RuleError};
pub use stat::ProcessStat;
pub use threads::{Switches, ThreadTimes};
