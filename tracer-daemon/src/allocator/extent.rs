use gimli::{BaseAddresses, EhFrame, EhFrameHdr, LittleEndian, UnwindSection};

use crate::elf::{Elf, Source};

/// Bytes of the function that begins at an address, as the unwind tables have it: functions without a name are
/// there as well. `None`: none is known to begin there.
pub(super) fn extent<S: Source + ?Sized>(elf: &Elf<'_, S>, address: u64) -> Option<u64> {
    let index = elf.eh_frame_hdr()?;
    let bases = BaseAddresses::default().set_eh_frame_hdr(index.address);
    let header = EhFrameHdr::new(&index.bytes, LittleEndian).parse(&bases, 8).ok()?;
    let section = elf.at_address(header.eh_frame_ptr().direct().ok()?)?;
    let bases = bases.set_eh_frame(section.address);
    let mut frames = EhFrame::new(&section.bytes, LittleEndian);
    frames.set_address_size(8);
    let common = EhFrame::cie_from_offset;
    let entry = header.table()?.fde_for_address(&frames, &bases, address, common).ok()?;
    (entry.initial_address() == address).then(|| entry.len())
}
