//! The functions by which programs ask allocators for memory.

use tracer_common::AllocationCall;

/// A function of an allocator, and what a call of it is. Of several names for one function the first
/// counts. `operator new` and `delete` are looked for in the file that has `malloc`: those of others,
/// such as libstdc++'s, end in `malloc` and `free`.
pub(super) const FUNCTIONS: [(&str, AllocationCall); 31] = [
    ("malloc", AllocationCall::Malloc),
    ("calloc", AllocationCall::Calloc),
    ("realloc", AllocationCall::Realloc),
    ("reallocarray", AllocationCall::Reallocarray),
    ("posix_memalign", AllocationCall::PosixMemalign),
    ("aligned_alloc", AllocationCall::AlignedAlloc),
    ("memalign", AllocationCall::Memalign),
    ("valloc", AllocationCall::Valloc),
    ("pvalloc", AllocationCall::Pvalloc),
    ("free", AllocationCall::Free),
    ("cfree", AllocationCall::Free),
    // operator new(unsigned long), new[], and both with std::nothrow_t and std::align_val_t.
    ("_Znwm", AllocationCall::New),
    ("_Znam", AllocationCall::New),
    ("_ZnwmRKSt9nothrow_t", AllocationCall::New),
    ("_ZnamRKSt9nothrow_t", AllocationCall::New),
    ("_ZnwmSt11align_val_t", AllocationCall::New),
    ("_ZnamSt11align_val_t", AllocationCall::New),
    ("_ZnwmSt11align_val_tRKSt9nothrow_t", AllocationCall::New),
    ("_ZnamSt11align_val_tRKSt9nothrow_t", AllocationCall::New),
    ("_ZdlPv", AllocationCall::Delete),
    ("_ZdaPv", AllocationCall::Delete),
    ("_ZdlPvm", AllocationCall::Delete),
    ("_ZdaPvm", AllocationCall::Delete),
    ("_ZdlPvSt11align_val_t", AllocationCall::Delete),
    ("_ZdaPvSt11align_val_t", AllocationCall::Delete),
    ("_ZdlPvmSt11align_val_t", AllocationCall::Delete),
    ("_ZdaPvmSt11align_val_t", AllocationCall::Delete),
    ("mallocx", AllocationCall::Mallocx),
    ("rallocx", AllocationCall::Rallocx),
    ("dallocx", AllocationCall::Dallocx),
    ("sdallocx", AllocationCall::Dallocx),
];

/// What a call of the function with this name is.
#[must_use]
pub fn call_of(name: &str) -> Option<AllocationCall> {
    FUNCTIONS.iter().find(|(function, _)| *function == name).map(|(_, call)| *call)
}
