//! What is said between the session and its parser. Each request has an answer of one type.

use std::{borrow::Cow, num::NonZeroU32};

use serde::{Deserialize, Serialize};

/// Bytes of a message: a batch of stacks, or the mappings of a process with very many.
pub(crate) const MOST_BYTES: usize = 4 << 20;
/// Bytes of a name, and of a source's path; what is longer is cut.
pub(crate) const LONGEST_NAME: usize = 4096;
/// Functions at one place, of which all but one are inlined.
pub(crate) const MOST_NAMES: usize = 128;

/// A file of a session, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileId(pub(crate) NonZeroU32);

/// What the session wants.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request<'a> {
    /// To read the unwind tables of the file whose descriptor comes along, and to keep it. Answered with its
    /// build-id ([`BuildId`]).
    Keep(FileId),
    /// To remember the code of a process under a number, in place of what had that number. Answered with
    /// nothing.
    Image(u32, Vec<Mapping>),
    /// To unwind stacks. Answered with [`Addresses`] for each.
    #[serde(borrow)]
    Unwind(Vec<Stack<'a>>),
    /// To name places of files. Answered with [`Names`] for each.
    Name(Vec<(FileId, u64)>),
}

/// Executable memory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mapping {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) code: Code,
}

/// Where code comes from.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Code {
    /// No file that can be read.
    Elsewhere,
    /// The kernel's own library, from this place in it.
    Vdso(u64),
    /// A file, from this place in it.
    File(FileId, u64),
}

/// A copied stack.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Stack<'a> {
    /// The number of its process's code.
    pub(crate) image: u32,
    /// The fields of [`tracer_common::UserRegisters`].
    pub(crate) registers: [u64; 11],
    #[serde(borrow, with = "serde_bytes")]
    pub(crate) bytes: Cow<'a, [u8]>,
}

/// In hexadecimal digits.
pub(crate) type BuildId = Option<String>;

/// An unwound stack.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Addresses {
    /// Innermost first.
    pub(crate) frames: Vec<u64>,
    /// An address was met that lies in no code.
    pub(crate) unmapped: bool,
}

/// Functions at a place, inlined ones first; empty if none is known.
pub(crate) type Names = Vec<Name>;

/// A function and its source, without the place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Name {
    pub(crate) symbol: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
}

impl Name {
    /// Bytes of text.
    pub(crate) fn bytes(&self) -> usize {
        [&self.symbol, &self.file].into_iter().flatten().map(String::len).sum()
    }
}
