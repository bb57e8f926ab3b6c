//! Reads what unwinding and naming need of an ELF file, piece by piece and never more than a limit: neither
//! a header that promises gigabytes nor a file that shrinks meanwhile does harm.

use std::{fs::File, os::unix::fs::FileExt};

use object::{
    LittleEndian as Le,
    elf::{
        ELFCLASS64, ELFDATA2LSB, EM_X86_64, FileHeader64, NT_GNU_BUILD_ID, NoteHeader64, PF_X,
        PT_GNU_EH_FRAME, PT_LOAD, PT_NOTE, ProgramHeader64, ProgramType, SHF_COMPRESSED,
        SHT_NOBITS, SectionHeader64,
    },
    pod::{Pod, from_bytes, slice_from_all_bytes},
};

/// Bytes of a section that are read at the most. The largest tables of real programs (browsers)
/// have 30 MiB.
pub(crate) const MOST_BYTES: u64 = 64 << 20;
/// Bytes of notes that are looked at; the linker's are a hundred.
const MOST_NOTE_BYTES: u64 = 64 << 10;
/// Executable segments kept of a file; linkers make one.
const MOST_SEGMENTS: usize = 64;

/// Bytes that can be read at a place.
pub(crate) trait Source {
    /// Exactly so many bytes, if they are there.
    fn read(&self, offset: u64, size: u64) -> Option<Box<[u8]>>;
}

impl Source for File {
    fn read(&self, offset: u64, size: u64) -> Option<Box<[u8]>> {
        let end = offset.checked_add(size)?;
        if size > MOST_BYTES || end > self.metadata().ok()?.len() {
            return None;
        }
        let mut bytes = vec![0; usize::try_from(size).ok()?];
        self.read_exact_at(&mut bytes, offset).ok()?;
        Some(bytes.into())
    }
}

impl Source for [u8] {
    fn read(&self, offset: u64, size: u64) -> Option<Box<[u8]>> {
        let (start, size) = (usize::try_from(offset).ok()?, usize::try_from(size).ok()?);
        self.get(start..start.checked_add(size)?).map(Into::into)
    }
}

/// Bytes and the address that the file gives them.
pub(crate) struct Section {
    pub(crate) address: u64,
    pub(crate) bytes: Box<[u8]>,
}

/// Code, where it lies in the file and at which address the file wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    offset: u64,
    size: u64,
    address: u64,
}

impl Segment {
    /// The address in the file's own terms of a place in the file.
    pub(crate) fn address_of(&self, offset: u64) -> Option<u64> {
        let inside = offset.checked_sub(self.offset).filter(|inside| *inside < self.size)?;
        self.address.checked_add(inside)
    }

    /// The place in the file of an address in its own terms.
    pub(crate) fn offset_of(&self, address: u64) -> Option<u64> {
        let inside = address.checked_sub(self.address).filter(|inside| *inside < self.size)?;
        self.offset.checked_add(inside)
    }
}

/// The headers of a 64-bit x86 file.
pub(crate) struct Elf<'a, S: ?Sized> {
    source: &'a S,
    programs: Vec<ProgramHeader64<Le>>,
    sections: Vec<SectionHeader64<Le>>,
    names: Box<[u8]>,
}

impl<'a, S: Source + ?Sized> Elf<'a, S> {
    /// `None`: it is no such file.
    pub(crate) fn read(source: &'a S) -> Option<Self> {
        let bytes = source.read(0, size_of::<FileHeader64<Le>>() as u64)?;
        let (header, _) = from_bytes::<FileHeader64<Le>>(&bytes).ok()?;
        let ident = &header.e_ident;
        let right = ident.magic == *b"\x7fELF"
            && ident.class == ELFCLASS64
            && ident.data == ELFDATA2LSB
            && header.e_machine.get(Le) == EM_X86_64;
        if !right {
            return None;
        }
        let programs = table(source, header.e_phoff.get(Le), header.e_phnum.get(Le))?;
        let sections: Vec<SectionHeader64<Le>> =
            table(source, header.e_shoff.get(Le), header.e_shnum.get(Le)).unwrap_or_default();
        let names = sections
            .get(usize::from(header.e_shstrndx.get(Le).0))
            .and_then(|names| source.read(names.sh_offset.get(Le), names.sh_size.get(Le)))
            .unwrap_or_default();
        Some(Self { source, programs, sections, names })
    }

    /// Its code.
    pub(crate) fn code(&self) -> Vec<Segment> {
        self.segments(PT_LOAD)
            .filter(|program| program.p_flags.get(Le).0 & PF_X.0 != 0)
            .take(MOST_SEGMENTS)
            .map(|program| Segment {
                offset: program.p_offset.get(Le),
                size: program.p_filesz.get(Le),
                address: program.p_vaddr.get(Le),
            })
            .collect()
    }

    /// What the running program itself finds its tables by: `.eh_frame_hdr`.
    pub(crate) fn eh_frame_hdr(&self) -> Option<Section> {
        let program = self.segments(PT_GNU_EH_FRAME).next()?;
        let bytes = self.source.read(program.p_offset.get(Le), program.p_filesz.get(Le))?;
        Some(Section { address: program.p_vaddr.get(Le), bytes })
    }

    /// The section that begins at an address, and what is loaded behind it where no section says
    /// how long it is.
    pub(crate) fn at_address(&self, address: u64) -> Option<Section> {
        let mut sections = self.sections.iter();
        let known = sections.find(|section| {
            section.sh_addr.get(Le) == address && section.sh_type.get(Le) != SHT_NOBITS
        });
        let (offset, size) = match known {
            Some(section) => (section.sh_offset.get(Le), section.sh_size.get(Le)),
            None => self.segments(PT_LOAD).find_map(|program| {
                let inside = address.checked_sub(program.p_vaddr.get(Le))?;
                let size = program.p_filesz.get(Le).checked_sub(inside).filter(|&size| size > 0)?;
                Some((program.p_offset.get(Le).checked_add(inside)?, size))
            })?,
        };
        Some(Section { address, bytes: self.source.read(offset, size)? })
    }

    /// What tells this build from all others.
    pub(crate) fn build_id(&self) -> Option<Box<[u8]>> {
        self.segments(PT_NOTE)
            .filter(|program| program.p_filesz.get(Le) <= MOST_NOTE_BYTES)
            .filter_map(|program| {
                self.source.read(program.p_offset.get(Le), program.p_filesz.get(Le))
            })
            .find_map(|notes| build_id(&notes))
    }

    /// Whether it says where its symbols are. A file that is stripped of that still runs.
    pub(crate) fn has_sections(&self) -> bool {
        !self.sections.is_empty()
    }

    /// A section by name, uncompressed.
    pub(crate) fn named(&self, name: &[u8]) -> Option<Section> {
        let section = self.sections.iter().find(|section| self.name(section) == Some(name))?;
        let plain = section.sh_type.get(Le) != SHT_NOBITS
            && section.sh_flags.get(Le).0 & SHF_COMPRESSED.0 == 0;
        let bytes = || self.source.read(section.sh_offset.get(Le), section.sh_size.get(Le));
        plain.then(bytes)?.map(|bytes| Section { address: section.sh_addr.get(Le), bytes })
    }

    fn segments(&self, kind: ProgramType) -> impl Iterator<Item = &ProgramHeader64<Le>> {
        self.programs.iter().filter(move |program| program.p_type.get(Le) == kind)
    }

    fn name(&self, section: &SectionHeader64<Le>) -> Option<&[u8]> {
        let name = self.names.get(usize::try_from(section.sh_name.get(Le)).ok()?..)?;
        name.split(|byte| *byte == 0).next()
    }
}

/// Notes are three numbers, a name and a description, each padded to four bytes.
fn build_id(mut notes: &[u8]) -> Option<Box<[u8]>> {
    loop {
        let (header, rest) = from_bytes::<NoteHeader64<Le>>(notes).ok()?;
        let name = header.n_namesz.get(Le) as usize;
        let description = header.n_descsz.get(Le) as usize;
        let begin = name.checked_next_multiple_of(4)?;
        let end = begin.checked_add(description)?;
        if header.n_type.get(Le) == NT_GNU_BUILD_ID && rest.get(..name)? == b"GNU\0" {
            return rest.get(begin..end).map(Into::into);
        }
        notes = rest.get(end.checked_next_multiple_of(4)?..)?;
    }
}

fn table<T: Pod>(source: &(impl Source + ?Sized), offset: u64, count: u16) -> Option<Vec<T>> {
    let bytes = source.read(offset, u64::from(count) * size_of::<T>() as u64)?;
    Some(slice_from_all_bytes(&bytes).ok()?.to_vec())
}
