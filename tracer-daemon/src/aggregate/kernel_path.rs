//! What a kernel stack says: what the kernel was asked for, and what it is busy with.

use std::collections::HashMap;

use tracer_common::Lookup;

/// Names of kernel addresses.
pub trait KernelNames {
    /// The function that holds `address`.
    fn name(&self, address: u64) -> Option<&str>;
}

/// A page fault, as what the kernel was asked for.
pub const FAULT: &str = "fault";

/// What a function on the stack tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It is where user space came in.
    Asked(&'static str),
    /// It does one kind of work, whoever asked for it.
    Busy(&'static str),
    /// It looks something up.
    Lookup(Lookup),
}

use Role::{Asked, Busy};

/// Functions by name, as far as they tell something. Kernels from 5.10 to 7.2; what one does not have
/// does no harm.
const ROLES: &[(&str, Role)] = &[
    ("exc_page_fault", Asked(FAULT)),
    ("asm_exc_page_fault", Asked(FAULT)),
    ("__x64_sys_mmap", Asked("mmap")),
    // The system call's own function ends in a jump, and leaves no frame.
    ("ksys_mmap_pgoff", Asked("mmap")),
    ("vm_mmap_pgoff", Asked("mmap")),
    ("__x64_sys_munmap", Asked("munmap")),
    ("__x64_sys_mremap", Asked("mremap")),
    ("__x64_sys_mprotect", Asked("mprotect")),
    ("__x64_sys_brk", Asked("brk")),
    ("__x64_sys_madvise", Asked("madvise")),
    ("find_vma", Role::Lookup(Lookup::FindVma)),
    ("find_vma_intersection", Role::Lookup(Lookup::FindVmaIntersection)),
    ("find_vma_prev", Role::Lookup(Lookup::FindVmaPrev)),
    ("lock_vma_under_rcu", Role::Lookup(Lookup::LockVmaUnderRcu)),
    ("vm_unmapped_area", Role::Lookup(Lookup::VmUnmappedArea)),
    ("vmacache_find", Busy(LOOK_UP)),
    ("find_extend_vma", Busy(LOOK_UP)),
    ("unmapped_area", Busy(HOLE_SEARCH)),
    ("unmapped_area_topdown", Busy(HOLE_SEARCH)),
    ("mas_empty_area", Busy(HOLE_SEARCH)),
    ("mas_empty_area_rev", Busy(HOLE_SEARCH)),
    ("clear_page", Busy(ZEROING)),
    ("clear_page_rep", Busy(ZEROING)),
    ("clear_page_erms", Busy(ZEROING)),
    ("clear_page_orig", Busy(ZEROING)),
    ("clear_pages", Busy(ZEROING)),
    ("clear_huge_page", Busy(ZEROING)),
    ("clear_subpage", Busy(ZEROING)),
    ("folio_zero_user", Busy(ZEROING)),
    ("kernel_init_pages", Busy(ZEROING)),
    ("unmap_region", Busy(UNMAP)),
    ("unmap_vmas", Busy(UNMAP)),
    ("unmap_page_range", Busy(UNMAP)),
    ("zap_page_range", Busy(UNMAP)),
    ("zap_page_range_single", Busy(UNMAP)),
    ("free_pgtables", Busy(UNMAP)),
    ("tlb_finish_mmu", Busy(UNMAP)),
    ("flush_tlb_mm_range", Busy(TLB_FLUSH)),
    ("flush_tlb_func", Busy(TLB_FLUSH)),
    ("flush_tlb_one_user", Busy(TLB_FLUSH)),
    ("native_flush_tlb_multi", Busy(TLB_FLUSH)),
    ("arch_tlbbatch_flush", Busy(TLB_FLUSH)),
    ("rwsem_down_read_slowpath", Busy(LOCK_WAIT)),
    ("rwsem_down_write_slowpath", Busy(LOCK_WAIT)),
    ("rwsem_optimistic_spin", Busy(LOCK_WAIT)),
    ("osq_lock", Busy(LOCK_WAIT)),
    ("queued_spin_lock_slowpath", Busy(LOCK_WAIT)),
    ("native_queued_spin_lock_slowpath", Busy(LOCK_WAIT)),
    ("__pv_queued_spin_lock_slowpath", Busy(LOCK_WAIT)),
];

/// The class of what is inside a look-up.
pub const LOOK_UP: &str = "look_up";
const HOLE_SEARCH: &str = "hole_search";
const ZEROING: &str = "page_zeroing";
const UNMAP: &str = "unmap";
const TLB_FLUSH: &str = "tlb_flush";
const LOCK_WAIT: &str = "lock_wait";

/// What a stack as a whole tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Path {
    /// What the kernel was asked for: the outermost function that tells, but a fault taken inside a
    /// system call is a fault.
    pub asked: Option<&'static str>,
    /// What it is busy with: the innermost function that tells.
    pub busy: Option<&'static str>,
    /// The look-up it is in.
    pub lookup: Option<Lookup>,
}

/// Addresses that are remembered. A kernel has fewer that are ever on a stack, but its modules come
/// and go.
const MOST_KNOWN: usize = 1 << 16;

/// Tells paths, and remembers what each address is.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    known: HashMap<u64, Option<Role>>,
}

impl Paths {
    /// What a stack tells, innermost frame first.
    pub fn path(&mut self, frames: &[u64], names: &impl KernelNames) -> Path {
        if self.known.len() > MOST_KNOWN {
            self.known.clear();
        }
        let mut path = Path::default();
        for &frame in frames {
            let role = self.known.entry(frame).or_insert_with(|| role(names.name(frame)));
            match *role {
                None => {}
                Some(Busy(work)) => path.busy = path.busy.or(Some(work)),
                Some(Role::Lookup(function)) => {
                    let searches = function == Lookup::VmUnmappedArea;
                    let work = if searches { HOLE_SEARCH } else { LOOK_UP };
                    path.busy = path.busy.or(Some(work));
                    path.lookup = path.lookup.or(Some(function));
                }
                Some(Asked(what)) => {
                    path.asked = Some(what);
                    if what == FAULT {
                        break;
                    }
                }
            }
        }
        path
    }
}

fn role(name: Option<&str>) -> Option<Role> {
    let name = name?;
    // The compiler's clones are the same function: `find_vma.isra.0`.
    let name = name.split('.').next().unwrap_or(name);
    ROLES.iter().find(|(function, _)| *function == name).map(|(_, role)| *role)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Addresses are places in a list of names.
    pub(crate) struct Names(pub(crate) &'static [&'static str]);
    impl KernelNames for Names {
        fn name(&self, address: u64) -> Option<&str> {
            self.0.get(usize::try_from(address).ok()?).copied()
        }
    }

    #[test]
    fn a_fault_inside_a_call_is_a_fault() {
        let names = Names(&["clear_page_erms", "asm_exc_page_fault", "__x64_sys_mmap"]);
        let path = Paths::default().path(&[0, 9, 1, 2], &names);
        assert_eq!((path.asked, path.busy), (Some(FAULT), Some(ZEROING)));
    }

    #[test]
    fn the_innermost_work_counts_and_the_outermost_request() {
        let names = Names(&["osq_lock", "unmap_region", "__x64_sys_munmap", "do_syscall_64"]);
        let path = Paths::default().path(&[0, 1, 2, 3], &names);
        assert_eq!((path.asked, path.busy), (Some("munmap"), Some(LOCK_WAIT)));
        assert_eq!(Paths::default().path(&[3], &names), Path::default());
    }

    #[test]
    fn a_look_up_is_known_by_its_function() {
        let names = Names(&["mas_walk", "find_vma.isra.0", "exc_page_fault", "vm_unmapped_area"]);
        let path = Paths::default().path(&[0, 1, 2], &names);
        assert_eq!(path.lookup, Some(Lookup::FindVma));
        assert_eq!(path.busy, Some(LOOK_UP));
        assert_eq!(Paths::default().path(&[3], &names).busy, Some(HOLE_SEARCH));
    }
}
