//! The live tests once more, under each kernel in a virtual machine.

use super::{Args, Tally, live, truth};
use crate::{
    cargo::Artifact,
    vm::{self, Guest, Kernel, Outcome},
};
use anyhow::Result;
use std::{path::PathBuf, time::Duration};

/// Boots every kernel that is asked for and can be had, and hands on each one's results.
pub(super) fn run(
    built: &[Artifact],
    args: &Args,
    done: impl FnMut(Kernel, Tally) + Send,
) -> Result<()> {
    let live = live::find(built)?;
    let guest = Guest {
        files: files(built),
        env: vec![("ALLOCTRACE_TIER".into(), "vm".into())],
        command: vec![live.to_string_lossy().into_owned()],
    };
    let image = guest.pack()?;
    let tests = live::count(live);
    let limit = Duration::from_secs(args.timeout);
    let boot = |kernel: Kernel| match kernel.fetch() {
        Ok(kernel) => {
            let outcome = image.boot(&kernel, limit);
            let tally = judge(&outcome, live::TARGET);
            // A pass is one line; a failure is worth all that the guest said.
            if let Ok(outcome) = outcome
                && tally.failed > 0
            {
                print!("{}", outcome.log);
            }
            tally
        }
        Err(error) => Tally::skip(tests, &format!("{error:#}")),
    };
    vm::each(&Kernel::or_all(&args.kernel), boot, done);
    Ok(())
}

/// What the live tests start, at the paths that were compiled into them.
fn files(built: &[Artifact]) -> Vec<(PathBuf, PathBuf)> {
    let wanted = |built: &&Artifact| match built.kind.as_str() {
        "test" => built.name == live::TARGET,
        "bin" => built.name == "alloctrace" && !built.is_test,
        kind => kind == "example",
    };
    let programs = built.iter().filter(wanted).map(|built| built.path.clone());
    programs.chain(truth::paths()).map(|path| (path.clone(), path)).collect()
}

/// Counts what a guest printed.
pub(crate) fn judge(result: &Result<Outcome>, program: &str) -> Tally {
    match result {
        Ok(outcome) => Tally::of(&outcome.log, outcome.code == 0, program),
        Err(error) => {
            let mut tally = Tally::default();
            tally.fail(format!("{error:#}"));
            tally
        }
    }
}
