use gimli::{Register, X86_64};
use tracer_common::UserRegisters;

/// Registers that have DWARF numbers below the return address: the general ones.
const GENERAL: usize = 16;

/// What a function leaves as it was, unless its tables say where it put it (System V ABI for
/// x86-64, 3.2.1).
const PRESERVED: [Register; 6] =
    [X86_64::RBX, X86_64::RBP, X86_64::R12, X86_64::R13, X86_64::R14, X86_64::R15];

/// The registers of a frame, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Registers {
    ip: u64,
    sp: u64,
    general: [Option<u64>; GENERAL],
}

impl Registers {
    /// Of a frame whose caller's registers are about to be found.
    pub(super) fn new(ip: u64, sp: u64) -> Self {
        let mut new = Self { ip, ..Self::default() };
        new.set(X86_64::RSP, Some(sp));
        new
    }

    /// The next instruction; in a caller the one after the call.
    pub(super) fn ip(&self) -> u64 {
        self.ip
    }

    /// The top of the stack.
    pub(super) fn sp(&self) -> u64 {
        self.sp
    }

    pub(super) fn get(&self, register: Register) -> Option<u64> {
        if register == X86_64::RA {
            return Some(self.ip);
        }
        self.general.get(usize::from(register.0)).copied().flatten()
    }

    pub(super) fn set(&mut self, register: Register, value: Option<u64>) {
        if let Some(place) = self.general.get_mut(usize::from(register.0)) {
            *place = value;
        }
        if register == X86_64::RSP {
            self.sp = value.unwrap_or(0);
        }
    }

    /// Takes over what the function that has returned to here left as it was.
    pub(super) fn keep_preserved(&mut self, callee: &Self) {
        for register in PRESERVED {
            self.set(register, callee.get(register));
        }
    }
}

impl From<&UserRegisters> for Registers {
    fn from(user: &UserRegisters) -> Self {
        let mut registers = Self::new(user.rip, user.rsp);
        for (register, value) in
            PRESERVED.into_iter().zip([user.rbx, user.rbp, user.r12, user.r13, user.r14, user.r15])
        {
            registers.set(register, Some(value));
        }
        registers
    }
}
