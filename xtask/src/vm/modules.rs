//! Modules of a kernel, with those that they need, in the order in which they can be loaded.

use anyhow::{Context, Result};
use std::{fs, path::Path};

/// Copies `wanted` from a kernel's modules to the folder `to`, whose file `order` names them. What is built into the
/// kernel needs no module.
pub(super) fn take(modules: &Path, wanted: &[&str], to: &Path) -> Result<()> {
    let table = modules.join("modules.dep");
    let table = fs::read_to_string(&table)
        .with_context(|| format!("cannot read {}: depmod makes it", table.display()))?;
    fs::create_dir_all(to)?;
    let mut order = String::new();
    for path in in_order(&table, wanted) {
        let name = path.rsplit('/').next().unwrap_or(path);
        fs::copy(modules.join(path), to.join(name))
            .with_context(|| format!("cannot take {path} along"))?;
        order += name;
        order.push('\n');
    }
    Ok(fs::write(to.join("order"), order)?)
}

/// A line has a module and all that must be there before it, the nearest first.
fn in_order<'a>(table: &'a str, wanted: &[&str]) -> Vec<&'a str> {
    let mut order = Vec::new();
    for name in wanted {
        let lines = table.lines().filter_map(|line| line.split_once(':'));
        let Some((module, needed)) = lines.into_iter().find(|(path, _)| is_called(path, name))
        else {
            continue;
        };
        let before = needed.split_whitespace().rev();
        for path in before.chain([module]) {
            if !order.contains(&path) {
                order.push(path);
            }
        }
    }
    order
}

fn is_called(path: &str, name: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split_once('.').is_some_and(|(stem, _)| stem == name)
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_a_module_needs_comes_before_it_and_once() {
        let table = "kernel/fs/ext4/ext4.ko: kernel/fs/jbd2/jbd2.ko kernel/lib/crc16.ko\n\
                     kernel/fs/jbd2/jbd2.ko: kernel/lib/crc16.ko\nkernel/lib/crc16.ko:\n\
                     kernel/fs/ext4dev.ko:\n";
        assert_eq!(
            super::in_order(table, &["jbd2", "built_in", "ext4"]),
            ["kernel/lib/crc16.ko", "kernel/fs/jbd2/jbd2.ko", "kernel/fs/ext4/ext4.ko"]
        );
    }
}
