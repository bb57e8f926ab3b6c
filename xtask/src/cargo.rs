//! Building with cargo and finding what it built.

use crate::sh;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

/// An executable that cargo built.
pub(crate) struct Artifact {
    /// The target's name, such as `alloctrace` or `live`.
    pub(crate) name: String,
    /// `bin`, `test`, `example`, `lib`…
    pub(crate) kind: String,
    /// Whether it is a harness made of the target, rather than the target itself.
    pub(crate) is_test: bool,
    /// Where it is.
    pub(crate) path: PathBuf,
}

/// The cargo that runs us, in the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(sh::workspace());
    command
}

/// Builds with `args` and lists the executables; compiler messages go to the terminal.
pub(crate) fn build(args: &[&str]) -> Result<Vec<Artifact>> {
    let mut command = cargo();
    command.args(args).arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = command.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("`cargo {}` failed", args.join(" "));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(artifact).collect())
}

fn artifact(line: &str) -> Option<Artifact> {
    let message: Value = serde_json::from_str(line).ok()?;
    let target = message.get("target")?;
    Some(Artifact {
        name: target["name"].as_str()?.to_owned(),
        kind: target["kind"][0].as_str()?.to_owned(),
        is_test: message["profile"]["test"].as_bool()?,
        path: message["executable"].as_str()?.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::artifact;

    #[test]
    fn only_executables_are_artifacts() {
        let built = r#"{"reason":"compiler-artifact","target":{"kind":["test"],"name":"live"},
            "profile":{"test":true},"executable":"/t/live-1"}"#
            .replace('\n', " ");
        let live = artifact(&built).expect("an executable");
        assert_eq!((live.name.as_str(), live.kind.as_str(), live.is_test), ("live", "test", true));
        assert!(artifact(&built.replace("\"/t/live-1\"", "null")).is_none());
        assert!(artifact(r#"{"reason":"build-finished","success":true}"#).is_none());
    }
}
