//! Putting probes into a process and taking them out, with one link or with one for each.

use std::{cmp::Reverse, collections::HashMap, num::NonZeroU32, os::fd::OwnedFd, path::Path};

use aya::programs::{
    ProgramError, UProbe,
    uprobe::{UProbeAttachLocation, UProbeLink, UProbeScope},
};

use crate::probes::attach::Programs;

/// Probes that are in, as long as this lives.
pub(super) enum Links {
    /// All by one.
    One(OwnedFd),
    /// Each with its offset in the file.
    Each(Vec<(u64, UProbeLink)>),
}

impl Links {
    /// Puts a program in at these offsets of a file, for one process.
    pub(super) fn put_in(
        programs: &mut Programs,
        program: &str,
        file: &Path,
        offsets: &[u64],
        pid: NonZeroU32,
    ) -> Result<Self, String> {
        if let Some(multi) = programs.multi.get(program) {
            let link = multi.link(file, offsets, pid.get());
            return link.map(Self::One).map_err(|error| format!("the kernel refuses: {error}"));
        }
        let program: &mut UProbe = programs
            .ebpf
            .program_mut(program)
            .and_then(|program| program.try_into().ok())
            .ok_or("the object has no such program")?;
        let attach = |offset: &u64| -> Result<_, ProgramError> {
            let location = UProbeAttachLocation::AbsoluteOffset(*offset);
            let link = program.attach(location, file, UProbeScope::OneProcess(pid))?;
            Ok((*offset, program.take_link(link)?))
        };
        let links: Result<_, _> = offsets.iter().map(attach).collect();
        links.map(Self::Each).map_err(|error| format!("the kernel refuses a probe: {error}"))
    }

    /// Takes them out, which can last a second: first those that are hit most, for the others are hit
    /// until their turn comes.
    pub(super) fn leave(self, hits: &HashMap<u64, u64>) {
        match self {
            Self::One(link) => drop(link),
            Self::Each(mut links) => {
                links.sort_by_key(|(offset, _)| Reverse(hits.get(offset).copied()));
                links.into_iter().for_each(drop);
            }
        }
    }
}
