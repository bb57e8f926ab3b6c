//! Another reader of `/proc/PID/maps`, as simple as can be.

use std::collections::BTreeMap;

use libtest_mimic::Failed;
use serde_json::Value;

use super::{number, rows};
use crate::support::same;

/// The figures of a process that does nothing, by another way: lines split at blanks, every gap in
/// a list, every request by trial.
pub(super) fn as_another_reader(space: &Value, pid: u32) -> Result<(), Failed> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let lines: Vec<Vec<&str>> =
        text.lines().map(|line| line.split_ascii_whitespace().collect()).collect();
    same("areas", number(&space["areas"])?, lines.len() as i64)?;
    let range = |line: &[&str]| -> Result<(u64, u64), Failed> {
        let (start, end) = line[0].split_once('-').ok_or("no range")?;
        Ok((u64::from_str_radix(start, 16)?, u64::from_str_radix(end, 16)?))
    };
    let ranges: Vec<_> = lines.iter().map(|line| range(line)).collect::<Result<_, _>>()?;
    let mut sizes: BTreeMap<String, i64> = BTreeMap::new();
    for (start, end) in &ranges {
        *sizes.entry((end - start).to_string()).or_default() += 1;
    }
    same("sizes", rows(&space["sizes"], "bytes", "areas")?, sizes)?;
    let count = |is: fn(&[&str]) -> bool| lines.iter().filter(|line| is(line)).count() as i64;
    let kinds = rows(&space["kinds"], "kind", "areas")?;
    same("heap", kinds["\"heap\""], count(|line| line.get(5) == Some(&"[heap]")))?;
    same("file", kinds["\"file\""], count(|line| line[4] != "0"))?;
    same("special", kinds["\"special\""], count(|line| line.len() > 5 && line[5].contains("[v")))?;
    same("all kinds", kinds.values().sum::<i64>(), lines.len() as i64)?;
    unmerged(space, &lines, &ranges)?;
    let named = |line: &Vec<&str>| line.get(5) == Some(&"[stack]");
    let stack = lines.iter().position(named).ok_or("no stack")?;
    let lowest: u64 = std::fs::read_to_string("/proc/sys/vm/mmap_min_addr")?.trim().parse()?;
    let ends = std::iter::once(lowest.max(4096)).chain(ranges[..stack].iter().map(|range| range.1));
    let gaps: Vec<u64> =
        ends.zip(&ranges[..stack]).map(|(end, next)| next.0 - end).filter(|gap| *gap > 0).collect();
    let holes = &space["holes"];
    same("holes", number(&holes["count"])?, gaps.len() as i64)?;
    same("free", holes["bytes"].as_u64(), Some(gaps.iter().sum()))?;
    same("largest", holes["largest"].as_u64(), gaps.iter().max().copied())?;
    for request in space["requests"].as_array().ok_or("no requests")? {
        let bytes = request["bytes"].as_u64().ok_or("no bytes")?;
        let passed = gaps.iter().rev().take_while(|gap| **gap < bytes).count();
        same("holes passed", number(&request["holes_too_small"])?, passed as i64)?;
    }
    Ok(())
}

fn unmerged(space: &Value, lines: &[Vec<&str>], ranges: &[(u64, u64)]) -> Result<(), Failed> {
    let mut reasons: BTreeMap<&str, i64> = BTreeMap::new();
    for index in 1..lines.len() {
        let (one, other) = (&lines[index - 1], &lines[index]);
        let length = ranges[index - 1].1 - ranges[index - 1].0;
        let offset = |line: &[&str]| u64::from_str_radix(line[2], 16);
        let follows = one[4] == "0" || offset(one)? + length == offset(other)?;
        let reason = if ranges[index - 1].1 != ranges[index].0 {
            "gap"
        } else if one[1][..3] != other[1][..3] {
            "protection"
        } else if one[1] != other[1] {
            "flags"
        } else if one[3..5] != other[3..5] || !follows {
            "file"
        } else {
            "anon_vma_or_other"
        };
        *reasons.entry(reason).or_default() += 1;
    }
    for reason in ["gap", "protection", "flags", "file", "anon_vma_or_other"] {
        let expected = reasons.get(reason).copied().unwrap_or(0);
        same(reason, number(&space["unmerged"][reason])?, expected)?;
    }
    Ok(())
}
