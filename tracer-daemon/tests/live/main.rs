//! Tests on a running kernel, as root, on processes that they start themselves.
//!
//! A test whose surroundings are missing is shown as ignored, with the reason in its name. In the
//! project's virtual machines (`ALLOCTRACE_TIER=vm`) every rung has to work.

mod address_space;
mod allocations;
mod allocators;
mod arenas;
mod browser;
mod churn;
mod counts;
mod cure;
mod daemon;
mod disk;
mod errors;
mod healthy;
mod hot;
mod leaks;
mod live_view;
mod lookups;
mod losses;
mod parser;
mod perf;
mod real;
mod reallocs;
mod redis;
mod rounds;
mod size_rules;
mod stacks;
mod storm;
mod support;
mod targets;
mod top;
mod trims;
mod waste;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};

/// Makes a test of `check`; one with a `missing` is shown and not run.
pub(crate) fn trial(
    name: impl Into<String>,
    missing: Option<String>,
    check: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    let name = name.into();
    match missing {
        None => Trial::test(name, check),
        Some(reason) => {
            let reason = reason.replace('\n', " ");
            Trial::test(format!("{name} (skipped: {reason})"), || Ok(())).with_ignored_flag(true)
        }
    }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    // Each test measures processes of its own, and their load would disturb the others.
    arguments.test_threads = Some(1);
    let machine = support::Machine::look();
    let mut trials = counts::trials(&machine);
    trials.extend(churn::trials(&machine));
    trials.extend(trims::trials(&machine));
    trials.extend(storm::trials(&machine));
    trials.extend(arenas::trials(&machine));
    trials.extend(disk::trials(&machine));
    trials.extend(hot::trials(&machine));
    trials.extend(lookups::trials(&machine));
    trials.extend(perf::trials(&machine));
    trials.extend(address_space::trials(&machine));
    trials.extend(allocators::trials(&machine));
    trials.extend(allocations::trials(&machine));
    trials.extend(leaks::trials(&machine));
    trials.extend(size_rules::trials(&machine));
    trials.extend(waste::trials(&machine));
    trials.extend(reallocs::trials(&machine));
    trials.extend(real::trials(&machine));
    trials.extend(healthy::trials(&machine));
    trials.extend(stacks::trials(&machine));
    trials.extend(errors::trials(&machine));
    trials.extend(rounds::trials(&machine));
    trials.extend(daemon::trials(&machine));
    trials.extend(targets::trials(&machine));
    trials.extend(parser::trials(&machine));
    trials.extend(browser::trials(&machine));
    trials.extend(top::trials(&machine));
    trials.extend(live_view::trials(&machine));
    libtest_mimic::run(&arguments, trials).exit_code()
}
