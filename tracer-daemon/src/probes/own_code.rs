//! Two places in this program's own code where probes can be tried out: nobody else is disturbed.

use std::{
    arch::naked_asm,
    io,
    path::{Path, PathBuf},
};

use crate::census::ProcRoot;

/// Where the functions below lie in the program's file.
pub struct OwnCode {
    /// The file.
    pub file: PathBuf,
    /// The offset of one whose first instruction the kernel emulates.
    pub emulated: u64,
    /// The offset of one whose first instruction the processor has to step over.
    pub stepped: u64,
}

/// Returns. The kernel emulates its first instruction.
#[unsafe(naked)]
pub extern "C" fn emulated() {
    naked_asm!("nop", "ret")
}

/// Returns. The processor has to step over its first instruction.
#[unsafe(naked)]
pub extern "C" fn stepped() {
    naked_asm!("test edi, edi", "ret")
}

impl OwnCode {
    /// Finds them in the mappings of this process.
    ///
    /// # Errors
    /// When those cannot be read.
    pub fn find() -> io::Result<Self> {
        let areas = ProcRoot::default().areas(std::process::id()).map_err(io::Error::other)?.areas;
        let offset = |function: extern "C" fn()| {
            let address = function as usize as u64;
            let area = areas.iter().find(|area| area.contains(address));
            area.map(|area| address - area.start + area.offset)
                .ok_or_else(|| io::Error::other("no mapping has the program's own code"))
        };
        let file = Path::new("/proc/self/exe").to_owned();
        Ok(Self { file, emulated: offset(emulated)?, stepped: offset(stepped)? })
    }
}
