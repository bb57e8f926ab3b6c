//! `cargo xtask demo`: from a fresh clone to a report, on a workload that wastes its time.

use crate::{
    cargo::{self, Artifact},
    setup, sh,
};
use anyhow::{Context, Result, bail};
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Builds the tracer and a workload, and shows what the first says of the second.
pub(crate) fn run() -> Result<()> {
    if !sh::is_root() {
        bail!(
            "tracing needs root, because BPF programs do: run `sudo -E env PATH=$PATH cargo xtask demo`"
        );
    }
    setup::ensure(&[setup::Group::Build])?;
    eprintln!("demo: building the tracer and its example workloads (a few minutes the first time)");
    let built = cargo::build(&[
        "build",
        "--release",
        "--package",
        "tracer-daemon",
        "--bins",
        "--examples",
    ])?;
    let alloctrace = path_of(&built, "alloctrace")?;
    let churn = path_of(&built, "mmap_churn")?;

    let workload = Command::new(churn)
        .args(["--seconds", "60"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {}", churn.display()))?;
    let workload = sh::Reaped(workload);
    let pid = workload.0.id().to_string();
    let attach = ["attach", "--pid", &pid, "--duration", "5s"];
    let name = alloctrace.strip_prefix(sh::workspace()).unwrap_or(alloctrace).display();
    eprintln!("demo: mmap_churn runs as pid {pid}; now: {name} {}", attach.join(" "));
    sh::run(Command::new(alloctrace).args(attach))?;
    drop(workload);

    eprintln!("\nNext, on programs of your own:");
    eprintln!("  {name} doctor              what this kernel allows");
    eprintln!("  {name} attach --pid PID    trace a running process until Ctrl-C");
    eprintln!("  {name} run -- COMMAND      trace a command from its first instruction");
    eprintln!("  {name} daemon              the whole machine, for Prometheus");
    Ok(())
}

fn path_of<'a>(built: &'a [Artifact], name: &str) -> Result<&'a Path> {
    let found = built.iter().find(|artifact| artifact.name == name);
    Ok(&found
        .with_context(|| {
            format!("cargo built no `{name}`: is it still a target of tracer-daemon?")
        })?
        .path)
}
