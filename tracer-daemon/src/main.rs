//! The `alloctrace` command.

fn main() {}
