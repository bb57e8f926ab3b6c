//! Debian packages: which are missing, and how to get them.

use crate::sh;
use anyhow::{Context, Result, bail};
use std::{collections::BTreeSet, process::Command};

/// A Debian package, and a program of it to look for where there is no dpkg.
pub(crate) type Need = (&'static str, &'static str);

/// Installs those of `needs` that are missing, or says which they are.
pub(crate) fn ensure(needs: &[Need]) -> Result<()> {
    if sh::find("dpkg-query").is_some() {
        return install(&needs.iter().map(|need| need.0).collect::<Vec<_>>());
    }
    let missing: Vec<&str> =
        needs.iter().map(|need| need.1).filter(|program| sh::find(program).is_none()).collect();
    if !missing.is_empty() {
        bail!(
            "not found in PATH: {}; this is not a Debian, so install them by hand",
            missing.join(" ")
        );
    }
    Ok(())
}

/// Packages that start a service of the same name.
const SERVICES: [&str; 4] = ["nginx", "prometheus", "prometheus-process-exporter", "redis-server"];

/// Installs those of `packages` that are missing.
pub(crate) fn install(packages: &[&str]) -> Result<()> {
    let missing = missing(packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    let list = missing.join(" ");
    if !sh::is_root() {
        bail!(
            "Debian packages are missing and only root can install them; run: \
             sudo apt-get update && sudo apt-get install -y --no-install-recommends {list}"
        );
    }
    eprintln!("setup: installing {list}");
    sh::run(apt_get().args(["update", "-qq"]))?;
    sh::run(apt_get().args(["install", "-y", "-qq", "--no-install-recommends"]).args(&missing))
        .with_context(|| format!("cannot install {list} (do this Debian's sources have them?)"))?;
    SERVICES.into_iter().filter(|service| missing.contains(service)).for_each(quieten);
    Ok(())
}

/// Whether apt could install `package`.
pub(crate) fn available(package: &str) -> bool {
    Command::new("apt-cache")
        .args(["show", package])
        .output()
        .is_ok_and(|output| output.status.success())
}

fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    // Exits with 1 when it does not know one of them, which is an answer too.
    let query = Command::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .args(packages)
        .output()
        .context("cannot start dpkg-query")?;
    let known = String::from_utf8_lossy(&query.stdout);
    let installed: BTreeSet<&str> =
        known.lines().filter_map(|line| line.strip_suffix(" installed")).collect();
    // A set, because two purposes can need the same.
    let wanted: BTreeSet<&str> = packages.iter().copied().collect();
    Ok(wanted.into_iter().filter(|package| !installed.contains(package)).collect())
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// The tests start their own servers; a service that nobody asked for must not stay.
fn quieten(service: &str) {
    for (program, args) in [("service", [service, "stop"]), ("update-rc.d", [service, "disable"])] {
        // Containers have no service manager, and then nothing was started either.
        let _ = Command::new(program).args(args).output();
    }
}
