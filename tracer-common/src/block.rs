use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{Header, ProcessId};

/// Key of a sampled block that has not been given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BlockKey {
    /// Whose memory it is in.
    pub process: ProcessId,
    /// Where.
    pub address: u64,
}

/// The call that a sampled block came from.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct SampleId {
    /// The time in the header of its [`crate::AllocationSample`].
    pub time_ns: u64,
    /// The thread that made it.
    pub tid: u32,
    /// Always 0.
    pub reserved: u32,
}

/// A sampled block was handed out, or given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BlockRecord {
    /// Who and when.
    pub header: Header,
    /// Where it lies; 0: the call got nothing.
    pub address: u64,
    /// Where it came from.
    pub sample: SampleId,
}

crate::shared!(BlockKey, SampleId, BlockRecord);
