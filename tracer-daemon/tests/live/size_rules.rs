//! What allocators take for each size, against what they say themselves.

use std::{collections::BTreeSet, path::Path, process::Command};

use alloctrace::allocator::SizeRule;
use libtest_mimic::{Failed, Trial};

use crate::{
    allocators::{LIBRARIES, PRELOADED},
    losses::recorded_whole,
    support::{Machine, Target, built, ensure, same},
    trial,
};

/// Bytes of glibc's block that `malloc_usable_size` leaves out: the size in front of it.
const BEFORE_A_BLOCK: &str = "8";

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let uprobes = machine.cannot_use("malloc", "uprobe");
    let mut trials = vec![
        trial("every_small_size_has_a_count_of_its_own", uprobes, counts),
        trial("glibc_takes_what_its_rule_says", None, || takes("glibc", "", BEFORE_A_BLOCK)),
    ];
    for (library, name) in PRELOADED {
        let file = format!("{LIBRARIES}/{library}");
        let vm = machine.is_vm().then(|| "Debian's libraries are on the host".to_owned());
        let absent = (!Path::new(&file).exists()).then(|| format!("{file} is not installed"));
        let family = name.split(' ').next().unwrap_or(name);
        let title = format!("{family}_takes_what_its_rule_says");
        trials.push(trial(title, vm.or(absent), move || takes(family, &file, "0")));
    }
    trials
}

fn program() -> Command {
    Command::new(built("size_rules", &["-O1", "-fno-builtin"]))
}

fn takes(family: &str, library: &str, besides: &str) -> Result<(), Failed> {
    let rule = SizeRule::all().find(|rule| rule.family.name() == family);
    let rule = rule.ok_or_else(|| format!("{family} has no rule"))?;
    let mut command = program();
    if !library.is_empty() {
        command.env("LD_PRELOAD", library);
    }
    let output = command.arg(besides).output()?;
    let said = String::from_utf8(output.stdout)?;
    let truth: Vec<u64> =
        said.lines().filter_map(|line| line.split_once(' ')?.1.parse().ok()).collect();
    same("sizes", truth.len(), 4097)?;
    for (asked, truth) in (0..).zip(truth) {
        let taken = rule.taken(asked);
        ensure(taken == Some(truth), format!("{asked}: {taken:?}, true is {truth}"))?;
    }
    Ok(())
}

/// All at once, so that the kernel has to make thousands of counters in a few milliseconds.
fn counts() -> Result<(), Failed> {
    let target = Target::start(program().args([BEFORE_A_BLOCK, "wait"]));
    let recording = recorded_whole(target, &["--malloc", "--budget", "100%"])?;
    let all = recording.snapshot.allocations.ok_or("nothing was counted")?;
    let sizes: BTreeSet<_> = all.exact_sizes.iter().map(|size| size.bytes).collect();
    same("sizes", sizes, (0..=4096).collect())?;
    let once = all.exact_sizes.iter().filter(|size| size.calls == 1).count();
    ensure(once >= 4090, format!("{once} sizes have one call each"))
}
