//! When a program that has just begun has all its libraries in place and has run none of their code.

use super::{auxiliary::Auxiliary, search_order::is_whole, symbols::defined};
use crate::{
    census::{Area, ProcRoot},
    elf::Elf,
    symbolize::{ElfFile, Modules},
};

/// Which the dynamic linkers of glibc and musl call for debuggers when they have changed their list.
const HOOK: &str = "_dl_debug_state";

/// Where a program passes by when it has been linked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linking {
    /// The program's first instruction. Constructors of libraries have run by then.
    pub entry: u64,
    /// The dynamic linker's hook, before them; it is called for each change.
    pub hook: Option<u64>,
}

impl Linking {
    /// Of a process in the first moment of its program. `None`: it is no 64-bit one.
    #[must_use]
    pub fn of(root: &ProcRoot, pid: u32) -> Option<Self> {
        let auxiliary = Auxiliary::read(root, pid)?;
        let entry = auxiliary.value(Auxiliary::ENTRY)?;
        let linker = auxiliary.value(Auxiliary::DYNAMIC_LINKER).filter(|base| *base != 0);
        let hook = linker.and_then(|base| hook(root, pid, &root.maps(pid).ok()?, base));
        Some(Self { entry, hook })
    }

    /// Whether a process that is stopped at this address has been linked.
    #[must_use]
    pub fn is_done(self, root: &ProcRoot, pid: u32, address: u64) -> bool {
        address == self.entry || (Some(address) == self.hook && is_whole(root, pid))
    }
}

/// The address of the hook of the dynamic linker that lies at `base`.
fn hook(root: &ProcRoot, pid: u32, areas: &[Area], base: u64) -> Option<u64> {
    let linker = areas.iter().find(|area| area.contains(base))?;
    let code = areas.iter().find(|area| area.executable && area.inode == linker.inode)?;
    let location = Modules::from_areas(root, pid, areas).locate(code.start)?;
    let file = ElfFile::find(&location)?.open()?;
    let symbol = *defined(&Elf::read(&file)?, [HOOK]).get(HOOK)?;
    base.checked_add(symbol.address)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn this_process_was_linked_by_a_linker_with_a_hook() {
        let (root, pid) = (ProcRoot::default(), std::process::id());
        let linking = Linking::of(&root, pid).unwrap();
        let code = Modules::read(&root, pid).unwrap();
        let module = |address| code.locate(address).unwrap().module;
        assert_eq!(Some(module(linking.entry).to_path_buf()), root.exe(pid));
        assert!(module(linking.hook.unwrap()).to_string_lossy().contains("ld-linux"));
        assert!(linking.is_done(&root, pid, linking.entry));
        assert!(!linking.is_done(&root, pid, linking.entry + 1));
    }
}
