//! `cargo xtask service`: the package on a Debian with systemd, from its installation to its purge, and in a pod.

use crate::{
    cargo, dist, setup, sh,
    test::{machines, report},
    vm::{self, Debian},
};
use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

/// How to test
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only the checks whose names contain one of these; they build upon each other
    checks: Vec<String>,
    /// Seconds after which the machine is ended
    #[arg(long, default_value_t = 1800)]
    timeout: u64,
}

/// Makes the package, boots the machine and counts what passed.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(&[setup::Group::Build, setup::Group::Dist, setup::Group::Service])?;
    let debian = Debian::ensure()?;
    let files = Files::make(&args.checks)?;
    let limit = Duration::from_secs(args.timeout);
    let outcome = debian.boot(&files.0, "alloctrace-service", limit);
    if let Ok(outcome) = &outcome {
        print!("{}", outcome.log);
    }
    let tally = report("service", machines::judge(&outcome, "the checks of the service"));
    if tally.failed > 0 {
        std::process::exit(1);
    }
    Ok(())
}

/// What the guest gets; gone when dropped.
struct Files(PathBuf);

impl Files {
    fn make(checks: &[String]) -> Result<Self> {
        let files = Self(vm::folder().join("run").join(format!("service-{}", std::process::id())));
        fs::create_dir_all(files.0.parent().context("a path has a parent")?)?;
        copy(&sh::workspace().join("xtask/src/service/guest"), &files.0)?;
        for folder in ["prometheus", "container", "kubernetes"] {
            copy(&sh::workspace().join("deploy").join(folder), &files.0.join(folder))?;
        }
        for check in fs::read_dir(files.0.join("checks"))? {
            let check = check?;
            let name = check.file_name().to_string_lossy().into_owned();
            if !checks.is_empty() && !checks.iter().any(|wanted| name.contains(wanted)) {
                fs::remove_file(check.path())?;
            }
        }
        let built = dist::build()?;
        for (package, revision) in [("first.deb", 1), ("second.deb", 2)] {
            fs::copy(dist::debian(&built, revision)?, files.0.join(package))?;
        }
        fs::copy(dist::rpm(&built)?, files.0.join("package.rpm"))?;
        let example = ["build", "--package", "tracer-daemon", "--example", "mmap_churn"];
        let built = cargo::build(&example)?;
        let churn = built.iter().find(|built| built.name == "mmap_churn");
        let churn = &churn.context("cargo built no `mmap_churn`")?.path;
        // Its debug information is more than an emulated CPU reads in time.
        let small = files.0.join("mmap_churn");
        sh::run(Command::new("strip").args(["--strip-debug", "-o"]).args([&small, churn]))?;
        Ok(files)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // Under target/, where what cannot be removed does no harm.
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy(folder: &Path, to: &Path) -> Result<()> {
    sh::run(Command::new("cp").arg("-r").args([folder, to]))
}
