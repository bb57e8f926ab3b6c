//! Ring-buffer bytes become events. Bytes that make no sense become errors, never panics.

use std::sync::Arc;

use thiserror::Error;
use tracer_common::{
    AllocationCall, AllocationSample, BlockRecord, CpuSample, FaultSample, Fork, FutexWait, Header,
    KERNEL_FRAMES, Lookup, LookupSample, MemoryCall, RecordKind, Resize, ResizeRecord, STACK_BYTES,
    StackHead, Syscall,
};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::unwind::StackCopy;

/// A record, typed and checked.
#[derive(Clone, Debug)]
pub enum Event {
    /// A call that changed which addresses are mapped, and the user stack it came from.
    Memory(Syscall, MemoryCall, Option<Arc<StackCopy>>),
    /// A sampled page fault, and the user stack it came from.
    Fault(FaultSample, Option<Arc<StackCopy>>),
    /// A page fault that read from disk, and the user stack it came from.
    MajorFault(FaultSample, Option<Arc<StackCopy>>),
    /// What a CPU was doing, and the user stack on which.
    Cpu(CpuSample, Option<Arc<StackCopy>>),
    /// A look-up of an area, or a search for room, and the user stack it came from.
    Lookup(Lookup, LookupSample, Option<Arc<StackCopy>>),
    /// A sampled call of the allocator, and the user stack it came from.
    Allocation(AllocationCall, AllocationSample, Arc<StackCopy>),
    /// What a sampled call returned.
    Born(BlockRecord),
    /// A sampled call got a block of another size.
    Resized(Resize, ResizeRecord),
    /// The block of a sampled call was given back.
    Ended(BlockRecord),
    /// A wait for a futex, and the user stack it came from.
    Futex(FutexWait, Arc<StackCopy>),
    /// A process was made.
    Fork(Fork),
    /// A program was executed.
    Exec(Header),
    /// A process has ended.
    Exit(Header),
}

/// Why bytes are no record.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    /// No kind has this number.
    #[error("record of unknown kind {0}")]
    Kind(u32),
    /// The record ends too early.
    #[error("record of {0} bytes is too short for its kind")]
    Short(usize),
    /// No system call has this number.
    #[error("record of unknown system call {0}")]
    Syscall(u32),
    /// No look-up has this number.
    #[error("record of unknown look-up {0}")]
    Lookup(u32),
    /// No function of an allocator has this number.
    #[error("record of unknown allocator call {0}")]
    Allocation(u32),
    /// Nothing that a call can do to a block has this number.
    #[error("record of unknown resize {0}")]
    Resize(u32),
    /// More frames than a record has room for.
    #[error("record with a stack of {0} frames")]
    Depth(u32),
    /// More bytes of a stack than a record has room for.
    #[error("record with a stack of {0} bytes")]
    Stack(u64),
}

/// Types a record.
///
/// # Errors
/// When the bytes are no record.
pub fn decode(bytes: &[u8]) -> Result<Event, DecodeError> {
    let header: Header = read(bytes)?;
    let kind = RecordKind::from_u32(header.kind).ok_or(DecodeError::Kind(header.kind))?;
    Ok(match kind {
        RecordKind::MemoryCall => memory(read(bytes)?, None)?,
        RecordKind::MemoryCallStack => {
            let (call, stack) = with_stack(bytes)?;
            memory(call, Some(stack))?
        }
        RecordKind::Fault => Event::Fault(read(bytes)?, None),
        RecordKind::FaultStack => {
            let (fault, stack) = with_stack(bytes)?;
            Event::Fault(fault, Some(stack))
        }
        RecordKind::Cpu => cpu(read(bytes)?, None)?,
        RecordKind::MajorFault => Event::MajorFault(read(bytes)?, None),
        RecordKind::MajorFaultStack => {
            let (fault, stack) = with_stack(bytes)?;
            Event::MajorFault(fault, Some(stack))
        }
        RecordKind::CpuStack => {
            let (sample, stack) = with_stack(bytes)?;
            cpu(sample, Some(stack))?
        }
        RecordKind::Lookup => lookup(read(bytes)?, None)?,
        RecordKind::LookupStack => {
            let (sample, stack) = with_stack(bytes)?;
            lookup(sample, Some(stack))?
        }
        RecordKind::AllocationStack => {
            let (sample, stack): (AllocationSample, _) = with_stack(bytes)?;
            let call = AllocationCall::from_u32(sample.call);
            Event::Allocation(call.ok_or(DecodeError::Allocation(sample.call))?, sample, stack)
        }
        RecordKind::BlockBorn => Event::Born(read(bytes)?),
        RecordKind::BlockResized => {
            let record: ResizeRecord = read(bytes)?;
            let resize = Resize::from_u32(record.resize);
            Event::Resized(resize.ok_or(DecodeError::Resize(record.resize))?, record)
        }
        RecordKind::BlockEnded => Event::Ended(read(bytes)?),
        RecordKind::FutexStack => {
            let (wait, stack) = with_stack(bytes)?;
            Event::Futex(wait, stack)
        }
        RecordKind::Fork => Event::Fork(read(bytes)?),
        RecordKind::Exec => Event::Exec(header),
        RecordKind::Exit => Event::Exit(header),
    })
}

fn read<T: FromBytes + KnownLayout + Immutable>(bytes: &[u8]) -> Result<T, DecodeError> {
    T::read_from_prefix(bytes).map(|(value, _)| value).map_err(|_| DecodeError::Short(bytes.len()))
}

/// A [`tracer_common::WithStack`], of which nothing needs to be there behind the bytes in use.
fn with_stack<T: FromBytes + KnownLayout + Immutable>(
    record: &[u8],
) -> Result<(T, Arc<StackCopy>), DecodeError> {
    let short = || DecodeError::Short(record.len());
    let (value, rest) = T::read_from_prefix(record).map_err(|_| short())?;
    let (head, rest) = StackHead::read_from_prefix(rest).map_err(|_| short())?;
    let length = usize::try_from(head.length).ok().filter(|length| *length <= STACK_BYTES);
    let bytes = rest.get(..length.ok_or(DecodeError::Stack(head.length))?).ok_or_else(short)?;
    Ok((value, Arc::new(StackCopy { registers: head.registers, bytes: bytes.into() })))
}

/// A record without what lies unused at its end: most stacks are shorter than the room for them.
#[must_use]
pub fn trimmed(record: &[u8]) -> &[u8] {
    let stack = |event: &Event| match event {
        Event::Memory(_, _, Some(stack)) => Some((size_of::<MemoryCall>(), stack.bytes.len())),
        Event::Fault(_, Some(stack)) | Event::MajorFault(_, Some(stack)) => {
            Some((size_of::<FaultSample>(), stack.bytes.len()))
        }
        Event::Cpu(_, Some(stack)) => Some((size_of::<CpuSample>(), stack.bytes.len())),
        Event::Lookup(_, _, Some(stack)) => Some((size_of::<LookupSample>(), stack.bytes.len())),
        Event::Futex(_, stack) => Some((size_of::<FutexWait>(), stack.bytes.len())),
        Event::Allocation(_, _, stack) => Some((size_of::<AllocationSample>(), stack.bytes.len())),
        _ => None,
    };
    let used = decode(record).ok().as_ref().and_then(stack);
    let used = used.map(|(value, bytes)| value + size_of::<StackHead>() + bytes);
    used.and_then(|used| record.get(..used)).unwrap_or(record)
}

fn memory(call: MemoryCall, stack: Option<Arc<StackCopy>>) -> Result<Event, DecodeError> {
    let syscall = Syscall::from_u32(call.syscall).ok_or(DecodeError::Syscall(call.syscall))?;
    Ok(Event::Memory(syscall, call, stack))
}

fn cpu(sample: CpuSample, stack: Option<Arc<StackCopy>>) -> Result<Event, DecodeError> {
    check_depth(sample.depth)?;
    Ok(Event::Cpu(sample, stack))
}

fn lookup(sample: LookupSample, stack: Option<Arc<StackCopy>>) -> Result<Event, DecodeError> {
    check_depth(sample.depth)?;
    let function = Lookup::from_u32(sample.function);
    Ok(Event::Lookup(function.ok_or(DecodeError::Lookup(sample.function))?, sample, stack))
}

fn check_depth(depth: u32) -> Result<(), DecodeError> {
    if depth as usize > KERNEL_FRAMES { Err(DecodeError::Depth(depth)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use tracer_common::{ProcessId, SampleId};
    use zerocopy::IntoBytes;

    use super::*;

    fn header(kind: u32) -> Header {
        Header { kind, tid: 7, process: ProcessId::new(7, 1), time_ns: 5 }
    }

    #[test]
    fn a_header_alone_is_an_exec() {
        let event = decode(header(RecordKind::Exec as u32).as_bytes());
        assert!(matches!(event, Ok(Event::Exec(Header { tid: 7, .. }))));
    }

    #[test]
    fn nonsense_is_an_error() {
        assert_eq!(decode(&[]).err(), Some(DecodeError::Short(0)));
        assert_eq!(decode(header(99).as_bytes()).err(), Some(DecodeError::Kind(99)));
        let cut = header(RecordKind::Fork as u32);
        assert_eq!(decode(cut.as_bytes()).err(), Some(DecodeError::Short(32)));
    }

    #[test]
    fn impossible_depths_and_calls_are_errors() {
        let resized = ResizeRecord {
            header: header(RecordKind::BlockResized as u32),
            sample: SampleId::default(),
            bytes: 0,
            before: 0,
            after: 0,
            resize: 6,
            reserved: 0,
        };
        assert_eq!(decode(resized.as_bytes()).err(), Some(DecodeError::Resize(6)));
        let sample = CpuSample {
            header: header(RecordKind::Cpu as u32),
            user: 0,
            depth: 25,
            frames: [0; KERNEL_FRAMES],
        };
        assert_eq!(decode(sample.as_bytes()).err(), Some(DecodeError::Depth(25)));
        let call = MemoryCall {
            header: header(RecordKind::MemoryCall as u32),
            syscall: 6,
            stack_weight: 0,
            args: [0; 5],
            result: 0,
            duration_ns: 0,
        };
        assert_eq!(decode(call.as_bytes()).err(), Some(DecodeError::Syscall(6)));
    }

    #[test]
    fn a_stack_is_as_long_as_it_says() {
        let fault = FaultSample {
            header: header(RecordKind::FaultStack as u32),
            address: 0,
            duration_ns: 0,
            weight: 1,
            stack_weight: 1,
        };
        let record = |length: u64, there: usize| {
            let mut record = fault.as_bytes().to_vec();
            record.extend(StackHead { length, ..StackHead::default() }.as_bytes());
            record.resize(record.len() + there, 7);
            record
        };
        let whole = record(64, STACK_BYTES);
        let Ok(Event::Fault(_, Some(stack))) = decode(&whole) else {
            unreachable!("a fault with a stack")
        };
        assert_eq!(*stack.bytes, [7; 64]);
        assert_eq!(trimmed(&whole), record(64, 64));
        assert_eq!(trimmed(fault.header.as_bytes()), fault.header.as_bytes());
        assert!(matches!(decode(&record(65, 64)), Err(DecodeError::Short(_))));
        let long = STACK_BYTES as u64 + 1;
        let endless = decode(&record(long, STACK_BYTES + 64)).err();
        assert_eq!(endless, Some(DecodeError::Stack(long)));
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut bytes = vec![0u8; 1200];
        for seed in 0..20_000u32 {
            let mut x = seed.wrapping_mul(2_654_435_761) | 1;
            for byte in &mut bytes {
                x ^= x << 13;
                x ^= x >> 17;
                x ^= x << 5;
                *byte = x as u8;
            }
            bytes[..4].copy_from_slice(&(seed % 20).to_le_bytes());
            let length = (x as usize) % bytes.len();
            let _ = decode(&bytes[..length]);
        }
    }
}
