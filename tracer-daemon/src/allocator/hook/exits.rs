//! Where a function's result is certain.

use std::collections::HashSet;

use iced_x86::{Code, FlowControl, Instruction, InstructionInfoFactory, Mnemonic, Register};

use super::{Hook, instructions, is_emulated, places_jumped_to, register_is_written};

/// How a function leaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::allocator) struct Exits {
    /// A place for each `ret`: a call that returns there passes it once, with its result in rax.
    pub(in crate::allocator) returns: Vec<Hook>,
    /// Where it jumps to outside of itself, in bytes from its beginning.
    pub(in crate::allocator) jumps: Vec<u64>,
}

/// All exits of the function with this code. `None`: there may be others, and what those return would be
/// missing without a sign.
pub(in crate::allocator) fn exits(code: &[u8]) -> Option<Exits> {
    let instructions = instructions(code)?;
    let starts: HashSet<u64> = instructions.iter().map(Instruction::ip).collect();
    let targets = places_jumped_to(&instructions);
    let (inside, outside): (Vec<u64>, Vec<u64>) =
        targets.iter().copied().partition(|target| *target < code.len() as u64);
    let is_hidden = |one: &Instruction| match one.flow_control() {
        FlowControl::IndirectBranch | FlowControl::XbeginXabortXend => true,
        FlowControl::Return => one.code() != Code::Retnq,
        _ => false,
    };
    let is_cut = inside.iter().any(|target| !starts.contains(target));
    if is_cut || instructions.iter().any(is_hidden) || runs_on(&instructions) {
        return None;
    }
    let mut info = InstructionInfoFactory::new();
    let ends = |at: &usize| instructions[*at].flow_control() == FlowControl::Return;
    let rets = (0..instructions.len()).filter(ends);
    let returns = rets.map(|ret| before(&instructions[..=ret], &targets, &mut info)).collect();
    Some(Exits { returns, jumps: outside })
}

/// Whether what follows the function may be part of it. A call at the end is of a function that does not
/// return.
fn runs_on(instructions: &[Instruction]) -> bool {
    let last = instructions.iter().rev().find(|one| one.mnemonic() != Mnemonic::Nop);
    last.is_none_or(|one| {
        matches!(one.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch)
    })
}

/// The cheapest place that leads to the `ret` at the end and nowhere else: that itself, unless the kernel
/// emulates an instruction of those that are always passed before it and leave rax alone.
fn before(
    instructions: &[Instruction],
    targets: &HashSet<u64>,
    info: &mut InstructionInfoFactory,
) -> Hook {
    let mut places = instructions.iter().rev();
    let ret = places.next().map_or(0, Instruction::ip);
    let itself = Hook { offset: ret, pushed: 0, emulated: false };
    let (mut pushed, mut next) = (0, ret);
    for instruction in places {
        // Another way to the `ret` begins there.
        if targets.contains(&next) || instruction.flow_control() != FlowControl::Next {
            break;
        }
        let Some(popped) = popped(instruction, info) else { break };
        if register_is_written(info, instruction, Register::RAX) {
            break;
        }
        (pushed, next) = (pushed + popped, instruction.ip());
        if is_emulated(instruction) {
            return Hook { offset: next, pushed, emulated: true };
        }
    }
    itself
}

/// Bytes that an instruction takes from the stack; `None`: not known, or it puts some there.
fn popped(instruction: &Instruction, info: &mut InstructionInfoFactory) -> Option<u64> {
    let gives_frame_back = instruction.mnemonic() == Mnemonic::Add
        && instruction.op0_register() == Register::RSP
        && matches!(instruction.code(), Code::Add_rm64_imm8 | Code::Add_rm64_imm32);
    if gives_frame_back {
        return Some(instruction.immediate(1)).filter(|bytes| *bytes < 1 << 31);
    }
    match instruction.mnemonic() {
        Mnemonic::Pop => u64::try_from(instruction.stack_pointer_increment()).ok(),
        _ => (!register_is_written(info, instruction, Register::RSP)).then_some(0),
    }
}
