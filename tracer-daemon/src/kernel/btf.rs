//! Where the members of the kernel's structures lie, from BTF.
//!
//! Only what alloctrace asks for is decoded: one pass notes where each type begins, look-ups read
//! the rest in place. The format is Documentation/bpf/btf.rst of the kernel.

use std::{fs, io, path::Path};

const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;
const TYPE_BYTES: usize = 12;
const MEMBER_BYTES: usize = 12;

const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_TYPEDEF: u32 = 8;
const KIND_FUNC: u32 = 12;
const KIND_TYPE_TAG: u32 = 18;

/// Members looked at in one look-up: well above any structure of the kernel, and an end to
/// structures that contain each other.
const MEMBER_BUDGET: usize = 1 << 16;

/// Why type information is of no use.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The kernel was built without it, or it may not be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// It does not begin as BTF of this machine's byte order does.
    #[error("not BTF, or of the other byte order")]
    Magic,
    /// A part of it lies outside the data.
    #[error("cut short at byte {0}")]
    Truncated(usize),
    /// A type of a kind that is not known, so that its length is not known either.
    #[error("type {id} is of unknown kind {kind}")]
    UnknownKind {
        /// Number of the type.
        id: usize,
        /// Its kind.
        kind: u32,
    },
}

/// Type information of a kernel.
#[derive(Debug)]
pub struct Btf {
    bytes: Vec<u8>,
    strings: std::ops::Range<usize>,
    /// Where in `bytes` each type begins, by number; number 0 is `void` and has no place.
    types: Vec<u32>,
}

impl Btf {
    /// Reads `<root>/sys/kernel/btf/vmlinux`.
    ///
    /// # Errors
    /// If there is none, or it is not BTF.
    pub fn load(root: &Path) -> Result<Self, BtfError> {
        let path = root.join("sys/kernel/btf/vmlinux");
        let bytes = fs::read(&path)
            .map_err(|source| BtfError::Unreadable { path: path.display().to_string(), source })?;
        Self::parse(bytes)
    }

    /// Indexes BTF.
    ///
    /// # Errors
    /// If its outline is not that of BTF. What the types say is checked when they are looked up.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, BtfError> {
        let magic = bytes.first_chunk::<2>().ok_or(BtfError::Truncated(0))?;
        if u16::from_ne_bytes(*magic) != MAGIC {
            return Err(BtfError::Magic);
        }
        let header = |at| u32_at(&bytes, at).ok_or(BtfError::Truncated(at));
        let header_bytes = header(4)? as usize;
        if header_bytes < HEADER_BYTES {
            return Err(BtfError::Truncated(4));
        }
        let section = |at: usize| -> Result<std::ops::Range<usize>, BtfError> {
            let start = header_bytes.saturating_add(header(at)? as usize);
            let end = start.saturating_add(header(at + 4)? as usize);
            if end > bytes.len() || u32::try_from(end).is_err() {
                return Err(BtfError::Truncated(end));
            }
            Ok(start..end)
        };
        let types = index(&bytes, section(8)?)?;
        let strings = section(16)?;
        Ok(Self { bytes, strings, types })
    }

    /// The place of a member in a structure or union, in bytes; `None` if there is no such member
    /// or it is a bit field. Members of anonymous structures inside count as the structure's own,
    /// as in C.
    #[must_use]
    pub fn member_offset(&self, struct_name: &str, member: &str) -> Option<u32> {
        self.types
            .iter()
            .map(|&at| at as usize)
            .filter(|&at| matches!(self.kind(at), Some(KIND_STRUCT | KIND_UNION)))
            .filter(|&at| self.is_named(at, struct_name))
            .find_map(|at| self.member_bits(at, member))
            .filter(|bits| bits % 8 == 0)
            .map(|bits| bits / 8)
    }

    /// Whether the kernel has a function of this name that its BTF describes.
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        self.types
            .iter()
            .map(|&at| at as usize)
            .any(|at| self.kind(at) == Some(KIND_FUNC) && self.is_named(at, name))
    }

    fn kind(&self, at: usize) -> Option<u32> {
        u32_at(&self.bytes, at + 4).map(kind)
    }

    /// Whether the name whose number stands at `at` is this one.
    fn is_named(&self, at: usize, name: &str) -> bool {
        let strings = self.bytes.get(self.strings.clone()).unwrap_or_default();
        u32_at(&self.bytes, at)
            .and_then(|start| strings.get(start as usize..))
            .and_then(|rest| rest.strip_prefix(name.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    /// Distance in bits from the beginning of the structure at `outer`.
    fn member_bits(&self, outer: usize, member: &str) -> Option<u32> {
        let mut budget = MEMBER_BUDGET;
        let mut pending = vec![(outer, 0_u32)];
        while let Some((at, base)) = pending.pop() {
            let info = u32_at(&self.bytes, at + 4)?;
            for index in 0..members(info) {
                budget = budget.checked_sub(1)?;
                let field = at + TYPE_BYTES + index * MEMBER_BYTES;
                let place = u32_at(&self.bytes, field + 8)?;
                let (offset, bit_field) = split_place(info, place);
                let bits = base.checked_add(offset)?;
                if self.is_named(field, member) {
                    return (!bit_field).then_some(bits);
                }
                if self.is_named(field, "") {
                    let inner = u32_at(&self.bytes, field + 4)?;
                    pending.extend(self.structure(inner).map(|at| (at, bits)));
                }
            }
        }
        None
    }

    /// Where the structure behind a type's qualifiers begins.
    fn structure(&self, mut id: u32) -> Option<usize> {
        for _ in 0..8 {
            let at = *self.types.get(usize::try_from(id).ok()?.checked_sub(1)?)? as usize;
            match self.kind(at)? {
                KIND_STRUCT | KIND_UNION => return Some(at),
                KIND_TYPEDEF..=11 | KIND_TYPE_TAG => id = u32_at(&self.bytes, at + 8)?,
                _ => return None,
            }
        }
        None
    }
}

/// Notes where each type begins.
fn index(bytes: &[u8], section: std::ops::Range<usize>) -> Result<Vec<u32>, BtfError> {
    let mut types = Vec::with_capacity(section.len() / (2 * TYPE_BYTES));
    let mut at = section.start;
    while at < section.end {
        let info = u32_at(bytes, at + 4).ok_or(BtfError::Truncated(at))?;
        let tail = tail_bytes(info)
            .ok_or(BtfError::UnknownKind { id: types.len() + 1, kind: kind(info) })?;
        types.push(u32::try_from(at).map_err(|_| BtfError::Truncated(at))?);
        at += TYPE_BYTES + tail;
        if at > section.end {
            return Err(BtfError::Truncated(section.end));
        }
    }
    Ok(types)
}

/// Bytes after the common part of a type.
fn tail_bytes(info: u32) -> Option<usize> {
    let each = match kind(info) {
        // Pointers, forward declarations, qualifiers, functions, floats and tags on types.
        2 | 7..=12 | 16 | 18 => 0,
        // Integers, variables and tags on declarations have one word, whatever the count says.
        1 | 14 | 17 => return Some(4),
        3 => return Some(12),
        // Structures, unions, data sections and 64-bit enumerations.
        4 | 5 | 15 | 19 => 12,
        // Enumerations and prototypes.
        6 | 13 => 8,
        _ => return None,
    };
    Some(members(info) * each)
}

/// Kernels since BTF was widened use seven bits; before, the upper two were always 0.
fn kind(info: u32) -> u32 {
    info >> 24 & 0x7f
}

/// As with [`kind`]: the upper 8 of these 24 bits used to be 0.
fn members(info: u32) -> usize {
    (info & 0x00ff_ffff) as usize
}

/// Offset in bits and whether the member is a bit field. The flag in the structure says that the
/// upper byte of its members' offsets is the width of a bit field.
fn split_place(info: u32, place: u32) -> (u32, bool) {
    if info >> 31 == 1 { (place & 0x00ff_ffff, place >> 24 != 0) } else { (place, false) }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_ne_bytes(word.try_into().ok()?))
}

#[cfg(test)]
#[path = "btf_tests.rs"]
mod tests;
