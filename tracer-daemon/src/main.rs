//! The `alloctrace` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    alloctrace::cli::main()
}
