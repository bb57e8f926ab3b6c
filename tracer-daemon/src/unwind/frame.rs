//! A frame by its function's entry in the tables.

use gimli::{
    BaseAddresses, CfaRule, EndianSlice, Error, FrameDescriptionEntry, LittleEndian, Register,
    RegisterRule, UnwindContext, UnwindOffset, UnwindSection, UnwindTableRow, X86_64,
};

use super::{copy::StackCopy, expression::evaluate, registers::Registers};

pub(super) type Bytes<'a> = EndianSlice<'a, LittleEndian>;
type Function<'a> = FrameDescriptionEntry<Bytes<'a>>;

/// Bytes that the entry of a function may have. All of an entry is looked at for each frame; those
/// of the largest real functions have a few thousand.
pub(super) const MOST_ENTRY_BYTES: usize = 64 << 10;
/// What the tables say of a frame.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "there is one at a time, and soon taken apart")]
pub(super) enum Step {
    /// It was called from here.
    Caller {
        /// The registers there.
        registers: Registers,
        /// The kernel interrupted the caller to run a signal handler: it is at an instruction, not
        /// behind a call.
        interrupted: bool,
    },
    /// Nobody called it.
    Outermost,
    /// Nothing, or nothing that makes sense.
    Unknown,
}

/// A frame that is being left.
pub(super) struct Frame<'a> {
    pub(super) bases: &'a BaseAddresses,
    pub(super) address: u64,
    pub(super) registers: &'a Registers,
    pub(super) stack: &'a StackCopy,
}

impl Frame<'_> {
    /// To the caller, by the entry at a place in the section; `None` if it is another function's, or
    /// makes no sense.
    pub(super) fn step<'a, Unwind>(
        &self,
        section: &Unwind,
        offset: usize,
        context: &mut UnwindContext<usize>,
    ) -> Option<Step>
    where
        Unwind: UnwindSection<Bytes<'a>>,
        Unwind::Offset: UnwindOffset<usize> + From<usize>,
    {
        let small = |offset: usize| {
            let length = section.section().slice().get(offset..)?.first_chunk()?;
            (u32::from_le_bytes(*length) as usize <= MOST_ENTRY_BYTES).then_some(())
        };
        small(offset)?;
        let function = section
            .fde_from_offset(self.bases, offset.into(), |section, bases, offset| {
                small(UnwindOffset::into(offset)).ok_or(Error::NotCieId(0))?;
                section.cie_from_offset(bases, offset)
            })
            .ok()
            .filter(|function| function.contains(self.address))?;
        let row =
            function.unwind_info_for_address(section, self.bases, context, self.address).ok()?;
        self.caller(section, &function, row)
    }

    fn caller<'a, Unwind: UnwindSection<Bytes<'a>>>(
        &self,
        section: &Unwind,
        function: &Function<'a>,
        row: &UnwindTableRow<usize>,
    ) -> Option<Step> {
        let run = |expression: &gimli::UnwindExpression<usize>, initial| {
            let code = expression.get(section).ok()?;
            evaluate(code, function.cie().encoding(), initial, self.registers, self.stack)
        };
        let cfa = match row.cfa() {
            CfaRule::RegisterAndOffset { register, offset } => {
                self.registers.get(*register)?.checked_add_signed(*offset)?
            }
            CfaRule::Expression(expression) => run(expression, None)?,
        };
        let restored = |register: Register, rule: &RegisterRule<usize>| match rule {
            RegisterRule::SameValue => self.registers.get(register),
            RegisterRule::Offset(offset) => self.stack.word(cfa.checked_add_signed(*offset)?),
            RegisterRule::ValOffset(offset) => cfa.checked_add_signed(*offset),
            RegisterRule::Register(other) => self.registers.get(*other),
            RegisterRule::Expression(expression) => self.stack.word(run(expression, Some(cfa))?),
            RegisterRule::ValExpression(expression) => run(expression, Some(cfa)),
            _ => None,
        };
        let return_register = function.cie().return_address_register();
        let ip = match row.register(return_register) {
            None | Some(RegisterRule::Undefined) => return Some(Step::Outermost),
            Some(rule) => restored(return_register, &rule)?,
        };
        let mut caller = Registers::new(ip, cfa);
        caller.keep_preserved(self.registers);
        for (register, rule) in row.registers() {
            if *register != X86_64::RA {
                caller.set(*register, restored(*register, rule));
            }
        }
        Some(Step::Caller { registers: caller, interrupted: function.is_signal_trampoline() })
    }
}
