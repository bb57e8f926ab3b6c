//! Every map, once. Sizes are those of an attach; the daemon sets its own when it loads them.

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_NOEXIST},
    macros::map,
    maps::{Array, HashMap, PerCpuArray, PerCpuHashMap, ProgramArray, RingBuf},
};
use tracer_common::{
    AllocationCall, AllocationCounter, BlockKey, Control, ErrnoKey, ExactSizes, ExitTotals,
    FaultTime, FutexWaits, HitCounter, Lifecycle, LockKey, LockWaits, LookupCounts, Loss,
    PlacedSite, ProcessId, ResizeCounter, SampleId, SiteKey, SyscallCounter, SyscallKey, Target,
    Thread,
};

/// Processes to trace, by pid.
#[map]
pub static TARGETS: HashMap<u32, Target> = HashMap::with_max_entries(1024, 0);

/// The entry of a key, made from `fresh` if there is none.
#[inline(always)]
pub fn entry<K, V>(map: &PerCpuHashMap<K, V>, key: &K, fresh: &V) -> Option<*mut V> {
    // The kernel keeps a few spare entries and fetches more after one was taken; in between, an
    // insertion can fail although there is room. Where another CPU was faster, it fails as well.
    for _ in 0..INSERTIONS {
        if let Some(found) = map.get_ptr_mut(key) {
            return Some(found);
        }
        let _ = map.insert(key, fresh, u64::from(BPF_NOEXIST));
    }
    map.get_ptr_mut(key)
}

/// Attempts to make an entry.
const INSERTIONS: u32 = 4;

/// One entry: what user space changes while the programs run.
#[map]
pub static CONTROL: Array<Control> = Array::with_max_entries(1, 0);

/// One entry: readers of targets' mappings that are at work in the tracer. They take the targets'
/// `mmap_lock`.
#[map]
pub static READERS: Array<u32> = Array::with_max_entries(1, 0);

/// Threads seen, by thread id. Allocated beforehand: programs on perf events use it, and kernels
/// before 6.1 let those use no other hash map.
#[map]
pub static THREADS: HashMap<u32, Thread> = HashMap::with_max_entries(16384, 0);

/// Calls by process and system call.
#[map]
pub static SYSCALLS: PerCpuHashMap<SyscallKey, SyscallCounter> =
    PerCpuHashMap::with_max_entries(8192, BPF_F_NO_PREALLOC);

/// Refused calls by process, system call and reason.
#[map]
pub static ERRNOS: PerCpuHashMap<ErrnoKey, u64> =
    PerCpuHashMap::with_max_entries(8192, BPF_F_NO_PREALLOC);

/// Time in sampled faults by process.
#[map]
pub static FAULT_TIMES: PerCpuHashMap<ProcessId, FaultTime> =
    PerCpuHashMap::with_max_entries(8192, BPF_F_NO_PREALLOC);

/// Forks, execs and exits by process.
#[map]
pub static LIFECYCLES: PerCpuHashMap<ProcessId, Lifecycle> =
    PerCpuHashMap::with_max_entries(8192, BPF_F_NO_PREALLOC);

/// Waits for `mmap_lock` by process, call and side.
#[map]
pub static LOCK_WAITS: PerCpuHashMap<LockKey, LockWaits> =
    PerCpuHashMap::with_max_entries(8192, BPF_F_NO_PREALLOC);

/// Waits for futexes by process.
#[map]
pub static FUTEX_WAITS: PerCpuHashMap<ProcessId, FutexWaits> =
    PerCpuHashMap::with_max_entries(8192, BPF_F_NO_PREALLOC);

/// Look-ups by process: of a whole machine all, else those of threads that have ended, for those of
/// the living are in [`THREADS`].
#[map]
pub static LOOKUPS: PerCpuHashMap<ProcessId, LookupCounts> =
    PerCpuHashMap::with_max_entries(8192, BPF_F_NO_PREALLOC);

/// Probes on allocators, each in one of the slots of its [`SiteKey`].
#[map]
pub static SITES: Array<PlacedSite> = Array::with_max_entries(SiteKey::SLOTS, 0);

/// Allocator calls of the one process that has probes on its allocator, by [`AllocationCall`].
#[map]
pub static ALLOCATIONS: PerCpuArray<AllocationCounter> =
    PerCpuArray::with_max_entries(AllocationCall::ALL.len() as u32, 0);

/// Sampled blocks that have not been given back. Allocated beforehand: what finds no entry here is followed
/// no further.
#[map]
pub static BLOCKS: HashMap<BlockKey, SampleId> = HashMap::with_max_entries(1 << 16, 0);

/// Its small requests by function and exact size, in shards of [`ExactSizes::SHARD`] entries: all memory is
/// allocated beforehand, which one for each CPU would have too much of.
#[map]
pub static EXACT_SIZES: Array<ExactSizes> =
    Array::with_max_entries(ExactSizes::SHARD * ExactSizes::MOST_SHARDS, 0);

/// Its calls that wanted a block to have another size, by [`AllocationCall`] and what became of it.
#[map]
pub static RESIZES: PerCpuArray<ResizeCounter> =
    PerCpuArray::with_max_entries(AllocationCall::ALL.len() as u32, 0);

/// Hits of probes on allocators, by [`HitCounter`].
#[map]
pub static PROBE_HITS: PerCpuArray<u64> =
    PerCpuArray::with_max_entries(HitCounter::ALL.len() as u32, 0);

/// Always empty. A program that may call another one by it keeps its variables on the thread's own stack.
///
/// Since Linux 6.13 (`bpf_enable_priv_stack` in kernel/bpf/verifier.c) those of a larger program lie in
/// memory of the CPU, and a program on a uprobe can be preempted there by another thread that hits it:
/// Linux 7.2 died of that.
#[map]
pub static NO_PROGRAMS: ProgramArray = ProgramArray::with_max_entries(1, 0);

/// What ended threads leave behind, by process. Shared by all CPUs: a thread ends once. Allocated
/// beforehand: what finds no entry here is gone for ever.
#[map]
pub static EXITS: HashMap<ProcessId, ExitTotals> = HashMap::with_max_entries(8192, 0);

/// What is missing, by cause.
#[map]
pub static LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(Loss::ALL.len() as u32, 0);

/// Records on their way to user space.
#[map]
pub static EVENTS: RingBuf = RingBuf::with_byte_size(8 << 20, 0);
