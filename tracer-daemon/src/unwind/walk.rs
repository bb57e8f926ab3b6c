//! From the innermost frame outwards.

use super::{copy::StackCopy, frame::Step, registers::Registers};

/// Frames of a stack that are kept, innermost first.
pub const MOST_FRAMES: usize = 128;

/// The program whose stack it is.
pub(super) trait Code {
    /// Whether code can be at an address.
    fn is_code(&mut self, address: u64) -> bool;
    /// From a frame to its caller. `address` is inside the instruction that the frame is at.
    fn step(&mut self, address: u64, registers: &Registers, stack: &StackCopy) -> Step;
}

/// The addresses of a stack, innermost first; the others are return addresses. It ends where
/// nobody called, where the copy ends, and where nothing is known.
pub(super) fn walk(code: &mut impl Code, stack: &StackCopy) -> Vec<u64> {
    if let Some(walked) = stack.walked() {
        return walked;
    }
    let mut registers = Registers::from(&stack.registers);
    let mut frames = vec![registers.ip()];
    // A return address can belong to another function than the call before it, which may be the
    // last instruction of its own.
    let mut address = registers.ip();
    while frames.len() < MOST_FRAMES {
        let (caller, interrupted) = match code.step(address, &registers, stack) {
            Step::Caller { registers, interrupted } => (registers, interrupted),
            Step::Outermost => break,
            Step::Unknown => match by_frame_pointer(&registers, stack) {
                Some(caller) => (caller, false),
                None => break,
            },
        };
        address = caller.ip().wrapping_sub(u64::from(!interrupted));
        // Each call takes at least the room of its return address, so that a stack which leads
        // back to itself is none.
        if caller.sp() <= registers.sp() || !code.is_code(address) {
            break;
        }
        frames.push(caller.ip());
        registers = caller;
    }
    frames
}

/// The caller, if this function keeps a frame pointer: a pointer to the caller's, next to the
/// return address.
fn by_frame_pointer(registers: &Registers, stack: &StackCopy) -> Option<Registers> {
    let pointer = registers.get(gimli::X86_64::RBP)?;
    let (callers_pointer, sp) = (stack.word(pointer)?, pointer.checked_add(16)?);
    let mut caller = Registers::new(stack.word(pointer + 8)?, sp);
    caller.set(gimli::X86_64::RBP, Some(callers_pointer));
    Some(caller)
}

/// The stack of a program that cannot be looked at, as in a replay: as far as frame pointers lead.
#[must_use]
pub fn by_frame_pointers(stack: &StackCopy) -> Vec<u64> {
    struct Unseen;
    impl Code for Unseen {
        fn is_code(&mut self, address: u64) -> bool {
            address != 0
        }
        fn step(&mut self, _: u64, _: &Registers, _: &StackCopy) -> Step {
            Step::Unknown
        }
    }
    walk(&mut Unseen, stack)
}
