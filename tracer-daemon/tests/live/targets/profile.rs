//! A profile as any reader of the format takes it, apart from the code that writes it.

use std::io::Read;

use flate2::read::GzDecoder;
use libtest_mimic::Failed;
use prost::Message as _;

use crate::{
    daemon::Daemon,
    support::{ensure, same},
};

/// Of `profile.proto`, what is looked at here.
#[derive(Clone, PartialEq, prost::Message)]
struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    name: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
}

impl Profile {
    fn text(&self, row: i64) -> &str {
        let text = usize::try_from(row).ok().and_then(|row| self.string_table.get(row));
        text.map_or("", String::as_str)
    }

    fn has(&self, sample: &Sample, function: &str) -> bool {
        let locations = sample.location_id.iter();
        let mut lines = locations
            .filter_map(|id| self.location.iter().find(|one| one.id == *id))
            .flat_map(|location| &location.line)
            .filter_map(|line| self.function.iter().find(|one| one.id == line.function_id));
        lines.any(|one| self.text(one.name) == function)
    }
}

/// The process's profile is listed and served, with allocations by this function; others are not.
pub(super) fn is_served(daemon: &Daemon, pid: u32, function: &str) -> Result<(), Failed> {
    let (status, page) = daemon.get("/debug/pprof/")?;
    let page = String::from_utf8(page)?;
    same("the list's status", status, 200)?;
    ensure(page.contains(&format!("href=\"allocs?pid={pid}\"")), page)?;
    let (status, bytes) = daemon.get(&format!("/debug/pprof/allocs?pid={pid}"))?;
    same("the profile's status", status, 200)?;
    let mut plain = Vec::new();
    GzDecoder::new(bytes.as_slice()).read_to_end(&mut plain)?;
    let profile = Profile::decode(plain.as_slice())?;
    let types: Vec<_> = profile.sample_type.iter().map(|one| profile.text(one.name)).collect();
    same("types", types, vec!["alloc_objects", "alloc_space", "inuse_objects", "inuse_space"])?;
    let known = profile.sample.iter().find(|sample| profile.has(sample, function));
    let known = known.ok_or_else(|| format!("no {function} in {profile:?}"))?;
    ensure(known.value.len() == 4 && known.value[..2].iter().all(|value| *value > 0), "no values")?;
    for (question, expected) in [("?pid=1", 404), ("?pid=one", 400), ("", 400)] {
        let (status, line) = daemon.get(&format!("/debug/pprof/allocs{question}"))?;
        same("status", status, expected)?;
        same("lines", line.iter().filter(|byte| **byte == b'\n').count(), 1)?;
    }
    Ok(())
}
