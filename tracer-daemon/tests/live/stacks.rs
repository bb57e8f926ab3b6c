//! Stacks of programs without frame pointers, against the chain of calls that they are known to make.

use std::{path::PathBuf, process::Command};

use alloctrace::{
    aggregate::snapshot::{Frame, StackTotals},
    sink::Recording,
};
use libtest_mimic::{Failed, Trial};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use crate::{
    losses::recorded_whole,
    support::{Machine, Target, Tracer, alloctrace, built, ensure, same, workload},
    trial,
};

const ROUNDS: &str = "200";
/// From the innermost outwards.
const CHAIN: [&str; 6] = ["fifth", "fourth", "third", "second", "first", "main"];
const FLAGS: [&str; 4] =
    ["-O2", "-fomit-frame-pointer", "-fno-optimize-sibling-calls", "-fasynchronous-unwind-tables"];

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let none = machine.cannot_trace();
    let real = machine.is_vm().then(|| "Debian's programs are on the host".to_owned());
    let rungs = ["fentry", "kprobe", "tp_btf", "tracepoint"].map(|backend| {
        trial(
            format!("stacks_by_{backend}_reach_main"),
            machine.cannot_use("mmap", backend),
            move || malloc(&["--backend", &format!("mmap={backend}")]),
        )
    });
    let fault_rungs = ["fentry", "kprobe", "perf"].map(|backend| {
        trial(
            format!("stacks_of_faults_by_{backend}_reach_main"),
            machine.cannot_use("faults", backend),
            move || faults(&["--backend", &format!("faults={backend}")]),
        )
    });
    let mut trials = vec![
        trial("stacks_pass_through_the_c_library", none.clone(), callback),
        trial("stacks_pass_through_a_signal", none.clone(), signal),
        trial("stacks_of_a_stripped_program_are_right", none.clone(), stripped),
        trial("stacks_of_cpu_samples_reach_main", none.clone(), cpu_samples),
        trial("damaged_unwind_tables_cost_callers_only", none.clone(), damaged),
        // Whether the mappings are read before the program ends is a matter of speed.
        trial(
            "stacks_of_a_short_run_have_names",
            none.or_else(|| machine.is_vm().then(|| "an emulated CPU is too slow".to_owned())),
            short_run,
        ),
        trial("python3_has_a_deep_stack", real.or_else(|| machine.lacks(&["python3"])), python),
    ];
    trials.extend(rungs);
    trials.extend(fault_rungs);
    trials
}

fn deep() -> PathBuf {
    built("deep", &FLAGS)
}

/// The same program without symbols.
fn deep_stripped() -> PathBuf {
    built("deep-stripped", &[FLAGS.as_slice(), &["-s"]].concat())
}

fn trace(program: PathBuf, mode: &str, options: &[&str]) -> Result<Recording, Failed> {
    recorded_whole(Target::start(Command::new(program).args([mode, ROUNDS])), options)
}

fn names(stack: &StackTotals) -> Vec<&str> {
    stack.frames.iter().map(|frame| frame.symbol.as_deref().unwrap_or("??")).collect()
}

/// Frames behind those of `kind` are `chain`, one after the other; returns their stack.
fn expect<'a>(
    recording: &'a Recording,
    kind: &str,
    chain: &[&str],
) -> Result<&'a StackTotals, Failed> {
    let stacks = || recording.snapshot.stacks.iter().filter(|stack| stack.kind == kind);
    let all: u64 = stacks().map(|stack| stack.count).sum();
    let is_it = |stack: &&StackTotals| names(stack).windows(chain.len()).any(|some| some == chain);
    let right: u64 = stacks().filter(is_it).map(|stack| stack.count).sum();
    let shown: Vec<_> = stacks().map(|stack| (stack.count, names(stack))).collect();
    // A fault may also fall elsewhere, as in the libraries' own data.
    ensure(right * 10 >= all * 9 && right > 0, format!("{kind}: {right} of {all}: {shown:#?}"))?;
    Ok(stacks().find(is_it).expect("there are some"))
}

fn malloc(options: &[&str]) -> Result<(), Failed> {
    let recording = trace(deep(), "malloc", options)?;
    let stack = expect(&recording, "mmap", &CHAIN)?;
    let position = names(stack).iter().position(|name| *name == "fifth").expect("was found");
    let library = &stack.frames[..position];
    let in_libc = |frame: &Frame| frame.module.as_ref().is_some_and(|name| name.contains("libc"));
    ensure(position > 0 && library.iter().all(in_libc), format!("libc: {library:?}"))?;
    expect(&recording, "munmap", &CHAIN).map(|_| ())
}

fn faults(options: &[&str]) -> Result<(), Failed> {
    let recording = trace(deep(), "fault", options)?;
    let stack = expect(&recording, "fault", &CHAIN)?;
    same("innermost", names(stack)[0], "fifth")
}

fn callback() -> Result<(), Failed> {
    let recording = trace(deep(), "qsort", &[])?;
    let stack = expect(&recording, "mmap", &["fifth", "fourth", "third", "compare"])?;
    between(stack, "compare")
}

fn signal() -> Result<(), Failed> {
    let recording = trace(deep(), "signal", &[])?;
    let stack = expect(&recording, "mmap", &["fifth", "fourth", "third", "handle"])?;
    between(stack, "handle")
}

/// In user mode and in the kernel. The program does all of its work below these two.
fn cpu_samples() -> Result<(), Failed> {
    const OUTER: [&str; 2] = ["find_vma_hot::work", "find_vma_hot::main"];
    /// A clock's tick can fall into the line that it prints at the end: one, where there are few.
    const MOST: f64 = 0.95;
    let mut command = Command::new(workload("find_vma_hot"));
    let mut target = Target::start(command.args(["--wait", "--seconds", "3", "--areas", "9000"]));
    target.hear("pid");
    let tracer = Tracer::attach(target.pid(), &[]);
    target.nudge();
    target.hear("touches");
    let recording = tracer.interrupt()?;
    let is_user = |stack: &StackTotals| stack.place.as_deref() == Some("user");
    for user in [true, false] {
        let stacks = recording.snapshot.stacks.iter().filter(|stack| stack.kind == "cpu");
        let (right, wrong): (Vec<_>, Vec<_>) = stacks
            .filter(|stack| is_user(stack) == user)
            .partition(|stack| names(stack).windows(OUTER.len()).any(|some| some == OUTER));
        let sum = |stacks: &[&StackTotals]| stacks.iter().map(|one| one.count as f64).sum::<f64>();
        let share = sum(&right) / (sum(&right) + sum(&wrong));
        let shown: Vec<_> = wrong.iter().map(|stack| names(stack)).collect();
        let is_right = share >= MOST || sum(&right) >= 10.0 && sum(&wrong) <= 1.0;
        ensure(is_right, format!("user mode: {user}: {share} of the samples; {shown:#?}"))?;
    }
    Ok(())
}

/// Behind `inner` come frames of the C library, then `second` and what called it.
fn between(stack: &StackTotals, inner: &str) -> Result<(), Failed> {
    let names = names(stack);
    let at = |wanted: &str| names.iter().position(|name| *name == wanted);
    let (inner, second) =
        at(inner).zip(at("second")).ok_or_else(|| format!("no second: {names:?}"))?;
    let between = stack.frames.get(inner + 1..second).unwrap_or_default();
    let in_libc = |frame: &Frame| frame.module.as_ref().is_some_and(|name| name.contains("libc"));
    ensure(!between.is_empty() && between.iter().all(in_libc), format!("{names:?}"))?;
    same("callers", &names[second..second + 3], ["second", "first", "main"].as_slice())
}

/// Without symbols the places are the same as those of the twin that has them.
fn stripped() -> Result<(), Failed> {
    let recording = trace(deep_stripped(), "malloc", &[])?;
    let twin = std::fs::read(deep())?;
    let twin = object::File::parse(&*twin)?;
    let function = |frame: &Frame| {
        let in_program = frame.module.as_ref().is_some_and(|name| name.ends_with("/deep-stripped"));
        // Position-independent code is loaded where it lies in the file.
        let symbol = twin.symbols().find(|symbol| {
            let address = symbol.address();
            symbol.kind() == object::SymbolKind::Text
                && (address..address + symbol.size()).contains(&(frame.offset - 1))
        });
        in_program.then(|| symbol.and_then(|symbol| symbol.name().ok())).flatten()
    };
    let found =
        recording.snapshot.stacks.iter().filter(|stack| stack.kind == "mmap").any(|stack| {
            let names: Vec<_> = stack.frames.iter().filter_map(function).collect();
            names.starts_with(&CHAIN)
        });
    let shown: Vec<_> = recording.snapshot.stacks.iter().take(3).collect();
    ensure(found, format!("{shown:#?}"))
}

/// A program whose unwind tables are nonsense still has its calls, and where they came from.
fn damaged() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let program = directory.path().join("deep-damaged");
    std::fs::copy(deep(), &program)?;
    let mut bytes = std::fs::read(&program)?;
    let whole = bytes.clone();
    let file = object::File::parse(&*whole)?;
    for (name, seed) in [(".eh_frame", 0x9e), (".eh_frame_hdr", 0x5a)] {
        let section = file.section_by_name(name).ok_or("no unwind tables")?;
        let (offset, size) = section.file_range().ok_or("no unwind tables in the file")?;
        let place = &mut bytes[offset as usize..(offset + size) as usize];
        // The first words of the index say where the tables are: those are left.
        for (index, byte) in place.iter_mut().enumerate().skip(12) {
            *byte = (index as u8).wrapping_mul(seed) ^ (index >> 3) as u8;
        }
    }
    std::fs::write(&program, bytes)?;
    let recording = trace(program, "malloc", &[])?;
    let stacks = recording.snapshot.stacks.iter().filter(|stack| stack.kind == "mmap");
    let from_malloc = |stack: &&StackTotals| names(stack).contains(&"malloc");
    let calls: u64 = stacks.filter(from_malloc).map(|stack| stack.count).sum();
    ensure(calls > 0, format!("{:#?}", recording.snapshot.stacks))
}

/// The program loads its libraries, works and ends between two looks by the clock.
fn short_run() -> Result<(), Failed> {
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("recording").to_string_lossy().into_owned();
    let script = directory.path().join("lines").to_string_lossy().into_owned();
    std::fs::write(&script, "\n\n")?;
    let program = deep();
    let command = format!("exec {} malloc 2000 < {script}", program.display());
    let out = alloctrace(&["run", "-o", &file, "--", "/bin/sh", "-c", &command]);
    ensure(out.status.success(), String::from_utf8_lossy(&out.stderr))?;
    let recording = Recording::load(std::path::Path::new(&file))?;
    let is_it = |stack: &StackTotals| names(stack).windows(CHAIN.len()).any(|some| some == CHAIN);
    let shown: Vec<_> = recording.snapshot.stacks.iter().map(names).collect();
    ensure(recording.snapshot.stacks.iter().any(is_it), format!("{shown:#?}"))
}

/// main → the interpreter's loop → … → the allocator → mmap.
fn python() -> Result<(), Failed> {
    let script = "\
import sys
def churn(depth):
    if depth: return churn(depth - 1)
    for _ in range(300): bytearray(8 << 20)
print('ready', flush=True); sys.stdin.readline()
churn(3)
print('done', flush=True); sys.stdin.readline()";
    let mut target =
        Target::start(Command::new("/usr/bin/python3").args(["-I", "-S", "-c", script]));
    target.hear("ready");
    let tracer = Tracer::attach(target.pid(), &[]);
    target.nudge();
    target.hear("done");
    let recording = tracer.interrupt()?;
    let heaviest = recording.snapshot.stacks.iter().find(|stack| stack.kind == "mmap");
    let stack = heaviest.ok_or("no mmap stack")?;
    let names = names(stack);
    ensure(names.len() > 8, format!("{} frames: {names:?}", names.len()))?;
    let has = |part: &str| names.iter().any(|name| name.contains(part));
    ensure(
        has("PyEval") && has("PyByteArray") && has("main"),
        format!("not the interpreter: {names:?}"),
    )
}
