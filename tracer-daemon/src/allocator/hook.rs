//! Where in a function to put a uprobe.
//!
//! The trap costs what the kernel has to do for the instruction that it replaces. A few it emulates
//! (arch/x86/kernel/uprobes.c, `branch_setup_xol_ops` and `push_setup_xol_ops`); all others it has to
//! step over in a copy, with a second trap, which takes eight times as long. In the entry block,
//! up to the first branch, there mostly is one that it emulates and that sees the same arguments.

mod branches;
mod exits;
mod stub;

use std::collections::HashSet;

use iced_x86::{
    Code, Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, Mnemonic,
    OpAccess, Register,
};

/// A place that every call passes once, before the function changes its arguments or when its result is
/// certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hook {
    /// Bytes from the function's beginning.
    pub(super) offset: u64,
    /// Bytes that the function has on the stack there.
    pub(super) pushed: u64,
    /// Whether the kernel emulates the instruction.
    pub(super) emulated: bool,
}

pub(super) use branches::{Going, branches};
pub(super) use exits::{Exits, exits};
pub(super) use stub::{STUB, slot};

/// The registers that carry the first arguments (System V ABI, AMD64, 3.2.3).
const ARGUMENTS: [Register; 4] = [Register::RDI, Register::RSI, Register::RDX, Register::RCX];

/// The cheapest place in the function with this code, of which the first `arguments` matter. `None`:
/// none is certain to be passed exactly once by each call.
pub(super) fn choose(code: &[u8], arguments: usize) -> Option<Hook> {
    let instructions = instructions(code)?;
    let again = places_jumped_to(&instructions);
    let has_unknown_jump = instructions.iter().any(is_switch);
    let mut first = None;
    for (instruction, pushed) in entry_block(&instructions, arguments) {
        let offset = instruction.ip();
        // A loop, or a switch, may come back.
        if again.contains(&offset) || (has_unknown_jump && offset > 0) {
            break;
        }
        let hook = Hook { offset, pushed, emulated: is_emulated(instruction) };
        if hook.emulated {
            return Some(hook);
        }
        first = first.or(Some(hook));
    }
    first
}

/// `None`: not all of it is code.
fn instructions(code: &[u8]) -> Option<Vec<Instruction>> {
    let all: Vec<_> = Decoder::new(64, code, DecoderOptions::NONE).into_iter().collect();
    (!all.iter().any(Instruction::is_invalid)).then_some(all)
}

/// Where the function's own jumps go. A call of itself is a call like others.
fn places_jumped_to(instructions: &[Instruction]) -> HashSet<u64> {
    let jumps = instructions.iter().filter(|one| {
        matches!(
            one.flow_control(),
            FlowControl::ConditionalBranch | FlowControl::UnconditionalBranch
        )
    });
    jumps.map(Instruction::near_branch_target).collect()
}

/// A jump whose goals a table holds. One through a place in memory that is fixed leaves the
/// function, to another file's.
fn is_switch(instruction: &Instruction) -> bool {
    instruction.flow_control() == FlowControl::IndirectBranch
        && !instruction.is_ip_rel_memory_operand()
}

/// The instructions that see the arguments as they were, up to and with the first branch, and the
/// bytes pushed before each.
fn entry_block(
    instructions: &[Instruction],
    arguments: usize,
) -> impl Iterator<Item = (&Instruction, u64)> {
    let mut info = InstructionInfoFactory::new();
    let (mut pushed, mut over) = (0u64, false);
    instructions.iter().map_while(move |instruction| {
        if over {
            return None;
        }
        let here = pushed;
        let moved = -i64::from(instruction.stack_pointer_increment());
        let writes = |register: Register| register_is_written(&mut info, instruction, register);
        let lost = ARGUMENTS.into_iter().take(arguments).any(writes);
        over = instruction.flow_control() != FlowControl::Next || lost || moved < 0;
        // A frame is made by subtraction; any other change of the stack pointer is not understood.
        match made_frame(instruction) {
            Some(frame) => pushed += frame,
            None if moved > 0 => pushed += moved.unsigned_abs(),
            None => over |= register_is_written(&mut info, instruction, Register::RSP),
        }
        Some((instruction, here))
    })
}

/// The bytes of `sub rsp, bytes`.
fn made_frame(instruction: &Instruction) -> Option<u64> {
    let is_frame = instruction.mnemonic() == Mnemonic::Sub
        && instruction.op0_register() == Register::RSP
        && matches!(instruction.code(), Code::Sub_rm64_imm8 | Code::Sub_rm64_imm32);
    is_frame.then(|| instruction.immediate(1))
}

fn register_is_written(
    info: &mut InstructionInfoFactory,
    instruction: &Instruction,
    register: Register,
) -> bool {
    info.info(instruction).used_registers().iter().any(|used| {
        let changes =
            !matches!(used.access(), OpAccess::Read | OpAccess::CondRead | OpAccess::None);
        changes && used.register().full_register() == register
    })
}

fn is_emulated(instruction: &Instruction) -> bool {
    let plain = !instruction.has_lock_prefix() && !instruction.has_repne_prefix();
    let by_kind = match instruction.code() {
        Code::Push_r64 => true,
        Code::Nopd | Code::Nopw | Code::Nopq => instruction.len() == 1,
        _ => {
            instruction.is_jcc_short_or_near()
                || instruction.is_jmp_short_or_near()
                || instruction.is_call_near()
        }
    };
    plain && by_kind
}

#[cfg(test)]
mod tests;
