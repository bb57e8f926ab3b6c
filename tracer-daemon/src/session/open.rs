//! What an attach and the daemon begin with.

use std::path::Path;

use aya::Ebpf;
use tracer_common::{Control, KernelLayout, Syscall};

use crate::{
    error::Error,
    kernel::{self, privileges},
    probes::{
        attach::{self, Attached},
        catalog::Backend,
        settings::Settings,
    },
    source::{KernelMaps, Readers, Ring},
};

/// Kernel programs that are loaded and not attached, with their maps taken out.
pub(super) struct Opened {
    pub(super) ebpf: Ebpf,
    pub(super) maps: KernelMaps,
    pub(super) ring: Ring,
    pub(super) readers: Readers,
}

/// Where this kernel keeps things, once the privileges are known to suffice.
pub(super) fn layout() -> Result<KernelLayout, Error> {
    privileges::check()?;
    privileges::prepare();
    let resolved = kernel::resolve(Path::new("/"));
    for missing in &resolved.missing {
        log::warn!("{missing}");
    }
    Ok(resolved.layout)
}

pub(super) fn load(settings: &Settings) -> Result<Opened, Error> {
    let mut ebpf = attach::load(settings)
        .map_err(|error| Error::NotPermitted(format!("the kernel refuses the maps: {error}")))?;
    let refused = |error| Error::Usage(format!("the kernel programs are not whole: {error}"));
    let maps = KernelMaps::take(&mut ebpf).map_err(refused)?;
    let ring = Ring::take(&mut ebpf).map_err(refused)?;
    let readers = Readers::take(&mut ebpf).map_err(refused)?;
    Ok(Opened { ebpf, maps, ring, readers })
}

/// What the attached programs are to do at first.
pub(super) fn control(attached: &Attached) -> Control {
    let by_raw_syscalls = |call: &Syscall| attached.uses(call.name(), Backend::TpBtf);
    let served = Syscall::ALL.into_iter().filter(by_raw_syscalls);
    Control { syscalls: served.map(|call| 1 << call as u32).sum(), ..Control::default() }
}
