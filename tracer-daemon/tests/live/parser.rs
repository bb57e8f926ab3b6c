//! Files that were made to hurt whoever reads them: they cost their own names, and nobody else's.

mod confined;
mod daemon;
mod files;
mod places;

use std::{fs, path::Path, process::Command};

use alloctrace::sink::Recording;
use libtest_mimic::{Failed, Trial};
use rustix::process::Signal;

use crate::support::{Machine, Target, Tracer, compile, ensure, same};

/// Calls its library, which calls it back: so often, or with a word for ever.
const PROGRAM: &str = "
#include <sys/mman.h>
void through(void (*function)(void));
__attribute__((noinline)) void cycle(void)
{
    char *memory = mmap(0, 1 << 21, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    must(memory != MAP_FAILED, \"mmap\");
    *memory = 1;
    must(munmap(memory, 1 << 21) == 0, \"munmap\");
}
int main(int count, char **words)
{
    while (count > 1)
        through(cycle);
    say(\"ready\\n\"), wait_for_line();
    for (int round = 0; round < 200; round++)
        through(cycle);
    say(\"done\\n\"), wait_for_line();
}
";
const ROUNDS: u64 = 200;

/// A library that does nothing wrong.
const LIBRARY: &str =
    "void through(void (*function)(void)) { function(); __asm__ volatile(\"\"); }";

/// What alloctrace says of a file that it has given up.
const GIVEN_UP: &str = "its functions have no names";

pub(crate) fn trials(machine: &Machine) -> Vec<Trial> {
    let mut all = vec![confined::trials(machine), daemon::trials(machine)];
    all.extend([files::trials(machine), places::trials(machine)]);
    all.into_iter().flatten().collect()
}

/// The program, which looks for the library in this directory.
fn build_program(directory: &Path) -> Result<(), Failed> {
    let (source, program) = (directory.join("program.c"), directory.join("program"));
    let header = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/live/program.h");
    fs::write(&source, format!("#include \"{}\"\n{PROGRAM}", header.display()))?;
    let library = directory.join("library.so");
    let run_path = format!("-Wl,-rpath,{}", directory.display());
    let flags = ["-g", "-O1", "-Wl,--no-as-needed", &library.to_string_lossy(), &run_path];
    compile("gcc", &flags, &source, &program)
}

/// The library, from a source of this language.
fn build_library(directory: &Path, extension: &str, text: &str) -> Result<(), Failed> {
    let source = directory.join("library").with_extension(extension);
    fs::write(&source, text)?;
    let flags = ["-g", "-O1", "-fPIC", "-shared", "-fno-optimize-sibling-calls"];
    compile("gcc", &flags, &source, &directory.join("library.so"))
}

fn ready(command: &mut Command) -> Target {
    let mut target = Target::start(command);
    target.hear("ready");
    target
}

/// What `attach` makes of the program's rounds, and the lines that it says besides.
fn traced(mut target: Target) -> Result<(Recording, Vec<String>), Failed> {
    let tracer = Tracer::attach(target.pid(), &[]);
    target.nudge();
    target.hear("done");
    tracer.signal(Signal::INT);
    let (recording, said) = tracer.finish_and_hear()?;
    target.nudge();
    ensure(target.child.wait()?.success(), "the target did not end well")?;
    same("mmap calls", recording.snapshot.syscalls["mmap"].calls, ROUNDS)?;
    Ok((recording, said.lines().map(str::to_owned).collect()))
}

/// Stacks of mappings lead from the C library into the program's function, and both have names.
fn the_others_have_names(recording: &Recording) -> Result<(), Failed> {
    let stacks = recording.snapshot.stacks.iter().filter(|stack| stack.kind == "mmap");
    let mut named = 0;
    for stack in stacks {
        let name = |index: usize| {
            let frame = stack.frames.get(index)?;
            frame.symbol.as_deref()
        };
        if name(0).is_some_and(|name| name.contains("mmap")) && name(1) == Some("cycle") {
            named += stack.count;
        }
    }
    ensure(named > 0, format!("{:#?}", recording.snapshot.stacks))
}
