//! Builds the kernel programs from source, with the toolchain that `cargo xtask setup` found.

use std::{env, error::Error, fs, path::Path, path::PathBuf, process::Command};

const TARGET: &str = "bpfel-unknown-none";

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Asked at run time: a script that was built for another checkout must not build its programs.
    let package = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let workspace = package.parent().ok_or("no workspace")?;
    let programs = workspace.join("tracer-ebpf");
    for source in ["src", "Cargo.toml", "Cargo.lock", ".cargo"] {
        println!("cargo:rerun-if-changed={}", programs.join(source).display());
    }
    println!("cargo:rerun-if-changed={}", workspace.join("tracer-common").display());

    let toolchain = Toolchain::read(&workspace.join("target/tools/bpf-toolchain"))?;
    let mut build = toolchain.build(&programs, &out.join("bpf"));
    if !build.status()?.success() {
        return Err("the kernel programs did not compile; the compiler's words are above".into());
    }
    fs::copy(out.join("bpf").join(TARGET).join("release/tracer-ebpf"), out.join("tracer-ebpf"))?;
    Ok(())
}

/// What `cargo xtask setup` wrote down.
struct Toolchain {
    cargo: String,
    rustc: String,
    linker: String,
    build_std: bool,
}

impl Toolchain {
    fn read(file: &Path) -> Result<Self, Box<dyn Error>> {
        println!("cargo:rerun-if-changed={}", file.display());
        let text = fs::read_to_string(file).map_err(
            |_| "no toolchain for the kernel programs is set up; run: cargo xtask setup",
        )?;
        let value = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
                .map(str::to_owned)
                .ok_or_else(|| format!("{} lacks {key}; run: cargo xtask setup", file.display()))
        };
        Ok(Self {
            cargo: value("CARGO")?,
            rustc: value("RUSTC")?,
            linker: value("LINKER")?,
            build_std: value("BUILD_STD")? == "1",
        })
    }

    fn build(&self, programs: &Path, target_dir: &Path) -> Command {
        let mut build = Command::new(&self.cargo);
        // What cargo and clippy tell this script's own compiler does not hold for that one.
        for (name, _) in env::vars() {
            if name.starts_with("CARGO") && name != "CARGO_HOME"
                || name.starts_with("RUSTC")
                || name == "RUSTFLAGS"
                || name == "RUSTUP_TOOLCHAIN"
            {
                build.env_remove(name);
            }
        }
        let flags =
            ["-C", &format!("linker={}", self.linker), "-C", "debuginfo=2", "-C", "link-arg=--btf"];
        build
            .current_dir(programs)
            .args(["build", "--release", "--target", TARGET, "--target-dir"])
            .arg(target_dir)
            .env("RUSTC", &self.rustc)
            // `core`'s BPF parts and inline assembly are not stable.
            .env("RUSTC_BOOTSTRAP", "1")
            .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        if self.build_std {
            build.args(["-Z", "build-std=core"]);
        }
        build
    }
}
