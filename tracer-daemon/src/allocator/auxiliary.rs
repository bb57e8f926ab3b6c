use crate::census::ProcRoot;

/// What the kernel told a program at its start (`getauxval(3)`).
pub(super) struct Auxiliary(Vec<u8>);

impl Auxiliary {
    /// Of `<elf.h>`: `AT_PHDR`, `AT_PHNUM`, `AT_BASE` and `AT_ENTRY`.
    pub(super) const PROGRAM_HEADERS: u64 = 3;
    pub(super) const PROGRAM_HEADER_COUNT: u64 = 5;
    pub(super) const DYNAMIC_LINKER: u64 = 7;
    pub(super) const ENTRY: u64 = 9;

    pub(super) fn read(root: &ProcRoot, pid: u32) -> Option<Self> {
        root.read(pid, "auxv").ok().map(Self)
    }

    /// `None`: it was not told. Of a 32-bit program hardly anything is found.
    pub(super) fn value(&self, key: u64) -> Option<u64> {
        let (entries, _) = self.0.as_chunks::<16>();
        entries.iter().find_map(|entry| {
            let (numbers, _) = entry.as_chunks::<8>();
            (u64::from_le_bytes(numbers[0]) == key).then(|| u64::from_le_bytes(numbers[1]))
        })
    }
}
