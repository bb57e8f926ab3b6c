//! `cargo xtask vm`: a command under Debian's kernels, in emulated machines that need no KVM.

mod apt;
mod debian;
mod guest;
mod image;
mod kernel;
mod modules;
mod root;

pub(crate) use debian::Debian;
pub(crate) use guest::Outcome;
pub(crate) use image::Guest;
pub(crate) use kernel::Kernel;

use crate::{setup, sh};
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::PathBuf,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

/// What to run in a virtual machine
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Under these kernels only [default: all]
    #[arg(long, value_delimiter = ',')]
    kernel: Vec<Kernel>,
    /// A file to take along, to the same path, with the libraries that it needs
    #[arg(long)]
    file: Vec<PathBuf>,
    /// NAME=VALUE for the command's environment
    #[arg(long)]
    env: Vec<String>,
    /// Seconds after which a machine is ended
    #[arg(long, default_value_t = 300)]
    timeout: u64,
    /// The command; a path is taken along, a bare name is busybox's or a `--file`'s
    #[arg(last = true, default_values_t = ["uname".to_owned(), "-a".to_owned()])]
    command: Vec<String>,
}

/// Runs the command, and fails when it did under any kernel.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::ensure(&[setup::Group::Test])?;
    let image = guest(args)?.pack()?;
    let limit = Duration::from_secs(args.timeout);
    let kernels = Kernel::or_all(&args.kernel);
    let (mut failed, mut skipped) = (Vec::new(), 0);
    let boot = |kernel: Kernel| kernel.fetch().map(|kernel| image.boot(&kernel, limit));
    each(&kernels, boot, |kernel, result| match result {
        Ok(Ok(outcome)) => {
            eprintln!("vm: Linux {kernel}: exit status {}", outcome.code);
            print!("{}", outcome.log);
            failed.extend((outcome.code != 0).then(|| kernel.to_string()));
        }
        Ok(Err(error)) => {
            eprintln!("vm: Linux {kernel}: {error:#}");
            failed.push(kernel.to_string());
        }
        Err(error) => {
            eprintln!("vm: Linux {kernel}: skipped: {error:#}");
            skipped += 1;
        }
    });
    if !failed.is_empty() {
        bail!("failed under Linux {}", failed.join(", "));
    }
    if skipped == kernels.len() {
        bail!("not run: no kernel could be had");
    }
    Ok(())
}

fn guest(args: &Args) -> Result<Guest> {
    let mut command = args.command.clone();
    let mut files = args.file.clone();
    if let Some(program) = command.first_mut().filter(|program| program.contains('/')) {
        let path = fs::canonicalize(&*program).with_context(|| format!("cannot find {program}"))?;
        *program = path.to_string_lossy().into_owned();
        files.push(path);
    }
    let files = files.iter().map(|file| Ok((fs::canonicalize(file)?, std::path::absolute(file)?)));
    let env = args.env.iter().map(|pair| {
        let (name, value) =
            pair.split_once('=').with_context(|| format!("--env {pair}: no `=`"))?;
        Ok((name.to_owned(), value.to_owned()))
    });
    Ok(Guest { files: files.collect::<Result<_>>()?, env: env.collect::<Result<_>>()?, command })
}

/// Does `work` for every kernel, two at a time, and hands each result to `done` as it comes.
pub(crate) fn each<T: Send>(
    kernels: &[Kernel],
    work: impl Fn(Kernel) -> T + Sync,
    done: impl FnMut(Kernel, T) + Send,
) {
    // An emulated machine keeps a core busy, and its neighbours' clocks must not starve.
    const AT_ONCE: usize = 2;
    let queue = Mutex::new(kernels.iter().copied());
    let done = Mutex::new(done);
    thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some(kernel) = next else { break };
                    let result = work(kernel);
                    done.lock().unwrap_or_else(PoisonError::into_inner)(kernel, result);
                }
            });
        }
    });
}

/// Where everything that has to do with virtual machines is kept.
pub(crate) fn folder() -> PathBuf {
    sh::workspace().join("target/vm")
}
