//! The short functions by which calls leave a file, or reach what another file may replace.

use iced_x86::{Code, Decoder, DecoderOptions, Instruction, Mnemonic};

/// Bytes of such a function that are looked at: an `endbr64`, a prefix, and the jump.
pub(in crate::allocator) const STUB: u64 = 16;

/// Where this function has the address that it jumps to, in bytes from its beginning. `None`: it is another kind
/// of function.
pub(in crate::allocator) fn slot(code: &[u8]) -> Option<u64> {
    let mut instructions = Decoder::new(64, code, DecoderOptions::NONE).into_iter();
    let is_mark = |one: &Instruction| one.mnemonic() == Mnemonic::Endbr64;
    let jump = instructions.find(|one| !is_mark(one))?;
    let is_it = jump.code() == Code::Jmp_rm64 && jump.is_ip_rel_memory_operand();
    is_it.then(|| jump.ip_rel_memory_address())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_of_the_linkers_table_tells_its_slot() {
        // mimalloc's of mi_memalign, and what the GNU linker writes for processors with branch tracking.
        let plain = [0xff, 0x25, 0x2a, 0x5a, 0x01, 0x00, 0x68, 0x3c, 0, 0, 0];
        let marked = [0xf3, 0x0f, 0x1e, 0xfa, 0xf2, 0xff, 0x25, 0x10, 0, 0, 0];
        assert_eq!(slot(&plain), Some(0x15a30));
        assert_eq!(slot(&marked), Some(0x1b));
    }

    #[test]
    fn other_code_has_none() {
        let returns: &[u8] = &[0xc3];
        let jumps_by_register: &[u8] = &[0xff, 0xe0];
        let cut: &[u8] = &[0xff, 0x25, 0x2a];
        for code in [&[], returns, jumps_by_register, cut] {
            assert_eq!(slot(code), None, "{code:x?}");
        }
    }
}
