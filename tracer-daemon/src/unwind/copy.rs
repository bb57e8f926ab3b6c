use tracer_common::UserRegisters;

use super::walk::MOST_FRAMES;

/// The user registers of a thread and the top of its stack at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StackCopy {
    /// The registers; all 0 where they were not to be had.
    pub registers: UserRegisters,
    /// The stack from `registers.rsp` upwards, as far as it was copied. Without registers the
    /// addresses that the kernel found by frame pointers.
    pub bytes: Box<[u8]>,
}

impl StackCopy {
    /// The stack as the kernel found it, where it could not be copied.
    pub(super) fn walked(&self) -> Option<Vec<u64>> {
        let words = || self.bytes.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
        (self.registers == UserRegisters::default()).then(|| words().take(MOST_FRAMES).collect())
    }

    /// The word at an address of the stack, if it was copied.
    #[must_use]
    pub fn word(&self, address: u64) -> Option<u64> {
        self.read(address, size_of::<u64>())
    }

    /// A little-endian number of up to eight bytes.
    pub(super) fn read(&self, address: u64, size: usize) -> Option<u64> {
        let offset = usize::try_from(address.checked_sub(self.registers.rsp)?).ok()?;
        let bytes = self.bytes.get(offset..offset.checked_add(size)?)?;
        let mut word = [0; size_of::<u64>()];
        word.get_mut(..size)?.copy_from_slice(bytes);
        Some(u64::from_le_bytes(word))
    }
}
