//! What a process forks is not watched, which is said; it is not harmed either.

use libtest_mimic::{Failed, Trial};

use super::{ROUNDS, allocations, by_function, equals_the_truth, measure, program, reason};
use crate::{
    errors::nothing_is_left,
    support::{Machine, Target, Tracer, ensure, same},
    trial,
};

const EVERY_CALL: [&str; 3] = ["--malloc", "--budget", "100%"];

pub(super) fn trials(machine: &Machine) -> Vec<Trial> {
    let root = || machine.cannot_use("malloc", "uprobe");
    vec![
        trial("the_calls_of_a_child_are_said_to_be_missing", root(), || not_counted(&[])),
        trial("the_calls_of_a_followed_child_are_said_to_be_missing", root(), || {
            not_counted(&["--follow"])
        }),
        trial("a_child_outlives_the_probes", root(), || outlives(&[])),
        trial("a_child_outlives_the_uprobes_of_perf", root(), || {
            outlives(&["--backend", "malloc=uprobe"])
        }),
        trial("without_children_nothing_is_said_of_them", root(), childless),
    ]
}

/// The program forks in the middle of its work, and its child calls the allocator as well.
fn not_counted(options: &[&str]) -> Result<(), Failed> {
    let (recording, kept) = measure(&mut program(), ROUNDS, &[&EVERY_CALL[..], options].concat())?;
    equals_the_truth(&recording, ROUNDS, kept)?;
    let said = reason(&recording);
    ensure(said.contains("not in the process that it forked"), said)?;
    let text = alloctrace::sink::report::text(&recording, Default::default());
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    ensure(flat.contains("the calls of children are not counted"), text)
}

/// A child that was forked while probes were in goes on with their breakpoints in its memory, and after they
/// are out.
fn outlives(options: &[&str]) -> Result<(), Failed> {
    let mut target = Target::start(program().args(["parent", &ROUNDS.to_string()]));
    target.hear("ready");
    let tracer = Tracer::attach(target.pid(), &[&EVERY_CALL[..], options].concat());
    target.nudge();
    target.hear("done");
    let recording = tracer.interrupt()?;
    target.nudge();
    ensure(target.child.wait()?.success(), "the target or its child did not end well")?;
    let counted = by_function(allocations(&recording)?);
    let calls = ["malloc", "calloc", "posix_memalign"].map(|name| counted[name].0);
    same("calls of the parent", calls, [ROUNDS; 3])?;
    nothing_is_left()
}

fn childless() -> Result<(), Failed> {
    let mut target = Target::start(program().arg("kept"));
    target.hear("ready");
    let tracer = Tracer::attach(target.pid(), &EVERY_CALL);
    target.nudge();
    target.hear("done");
    let recording = tracer.interrupt()?;
    target.nudge();
    ensure(target.child.wait()?.success(), "the target did not end well")?;
    same("malloc", by_function(allocations(&recording)?)["malloc"].0, 175)?;
    same("said", reason(&recording), "")
}
