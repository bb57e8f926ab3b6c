//! Where code goes to the beginning of functions of its own.

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction};
use tracer_common::Branch;

use super::is_emulated;

/// An instruction that goes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::allocator) struct Going {
    /// Its address.
    pub(in crate::allocator) from: u64,
    /// Where it leads in the end.
    pub(in crate::allocator) to: u64,
    pub(in crate::allocator) branch: Branch,
}

/// More are not looked at: probes on them would cost more than they save.
const MOST: usize = 64;

/// All that go to a place for which `is_entry` holds, in code that lies at `base` and has functions that begin at
/// `starts`. `stub` says where those lead that leave the code, and `slot` those by a place in memory, as far as they
/// come back. `None`: there may be others.
///
/// What the code calls by a register is a function that it was handed, and a call of whoever did so.
pub(in crate::allocator) fn branches(
    code: &[u8],
    base: u64,
    starts: &[u64],
    is_entry: impl Fn(u64) -> bool,
    stub: impl Fn(u64) -> Option<u64>,
    slot: impl Fn(u64) -> Option<u64>,
) -> Option<Vec<Going>> {
    let inside = base..base.checked_add(code.len() as u64)?;
    let (mut all, mut begun) = (Vec::new(), 0);
    for instruction in &mut Decoder::with_ip(64, code, base, DecoderOptions::NONE) {
        // Code that was not read from its beginning is read as other instructions.
        begun += usize::from(starts.contains(&instruction.ip()));
        let to = match instruction.flow_control() {
            _ if instruction.is_invalid() => return None,
            FlowControl::Call
            | FlowControl::UnconditionalBranch
            | FlowControl::ConditionalBranch => {
                let to = instruction.near_branch_target();
                if inside.contains(&to) { Some(to) } else { stub(to) }
            }
            FlowControl::IndirectCall | FlowControl::IndirectBranch
                if instruction.is_ip_rel_memory_operand() =>
            {
                slot(instruction.ip_rel_memory_address())
            }
            _ => None,
        };
        if let Some(to) = to.filter(|to| is_entry(*to)) {
            all.push(Going { from: instruction.ip(), to, branch: branch(&instruction)? });
        }
    }
    (begun == starts.len() && all.len() <= MOST).then_some(all)
}

/// `None`: a probe there would not tell, or is not cheap.
fn branch(instruction: &Instruction) -> Option<Branch> {
    match instruction.flow_control() {
        FlowControl::Call if is_emulated(instruction) => Some(Branch::Call),
        FlowControl::UnconditionalBranch if is_emulated(instruction) => Some(Branch::Jump),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: u64 = 0x1000;
    /// Outside of the code.
    const STUB: u64 = 0x800;

    fn found(code: &[u8], starts: &[u64]) -> Option<Vec<(u64, u64, Branch)>> {
        let stub = |to| (to == STUB).then_some(BASE);
        let slot = |address| (address == 0x2000).then_some(BASE);
        let all = branches(code, BASE, starts, |to| to == BASE, stub, slot)?;
        Some(all.into_iter().map(|one| (one.from, one.to, one.branch)).collect())
    }

    /// A branch that lies `at` behind the base.
    fn near(opcode: &[u8], at: u64, to: u64) -> Vec<u8> {
        let next = BASE + at + opcode.len() as u64 + 4;
        [opcode, &(to.wrapping_sub(next) as u32).to_le_bytes()].concat()
    }

    #[test]
    fn calls_and_jumps_to_the_functions_are_found() {
        let call = near(b"\xe8", 1, BASE);
        let elsewhere = near(b"\xe8", 6, 0x4000);
        let by_stub = near(b"\xe8", 11, STUB);
        let jump = near(b"\xe9", 16, BASE);
        let code = [b"\xc3".as_slice(), &call, &elsewhere, &by_stub, &jump].concat();
        let wanted = [
            (BASE + 1, BASE, Branch::Call),
            (BASE + 11, BASE, Branch::Call),
            (BASE + 16, BASE, Branch::Jump),
        ];
        assert_eq!(found(&code, &[BASE, BASE + 11]).as_deref(), Some(&wanted[..]));
        // A jump by a byte, and a call by a register, which is none of them.
        let short = [(BASE + 3, BASE, Branch::Jump)];
        assert_eq!(found(b"\xc3\xff\xd0\xeb\xfb", &[BASE]).as_deref(), Some(&short[..]));
    }

    #[test]
    fn where_one_may_be_hidden_nothing_is_said() {
        // No instruction; a function that begins inside of one; a jump that may not be taken.
        assert_eq!(found(b"\x06", &[BASE]), None);
        assert_eq!(found(b"\x48\x89\xf8\xc3", &[BASE, BASE + 1]), None);
        assert_eq!(found(&near(b"\x0f\x84", 0, BASE), &[BASE]), None);
        // Through memory, to one of them and to another.
        assert_eq!(found(&near(b"\xff\x15", 0, 0x2000), &[BASE]), None);
        assert_eq!(found(&near(b"\xff\x15", 0, 0x3000), &[BASE]), Some(Vec::new()));
        // So many that the probes would take more than they save.
        let calls: Vec<u8> = (0..=MOST as u64).flat_map(|at| near(b"\xe8", 5 * at, BASE)).collect();
        assert_eq!(found(&calls, &[BASE]), None);
        assert_eq!(found(&calls[..5 * MOST], &[BASE]).map(|all| all.len()), Some(MOST));
    }
}
