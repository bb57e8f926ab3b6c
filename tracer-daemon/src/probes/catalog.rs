//! The one table of probes: for each signal its rungs, best first, and for each rung the kernel
//! programs and where they attach. A test holds it against the compiled programs, both ways.

pub use super::signal::{Backend, InDaemon, Point, Probe, Rung, Signal};

/// A system call's signal: `__x64_sys_NAME`, or the tracepoints of its entry and exit.
macro_rules! syscall {
    ($name:literal, $purpose:literal) => {
        Signal {
            name: $name,
            purpose: $purpose,
            daemon: InDaemon::Always,
            entries_only: false,
            rungs: &[
                Rung {
                    backend: Backend::Fexit,
                    probes: &[
                        probe(
                            concat!($name, "_kprobe"),
                            Point::Kprobe(concat!("__x64_sys_", $name)),
                        ),
                        probe(
                            concat!($name, "_fexit_1"),
                            Point::Fexit(concat!("__x64_sys_", $name)),
                        ),
                        probe(
                            concat!($name, "_fexit_2"),
                            Point::Fexit(concat!("__x64_sys_", $name)),
                        ),
                        probe(
                            concat!($name, "_fexit_3"),
                            Point::Fexit(concat!("__x64_sys_", $name)),
                        ),
                    ],
                },
                Rung {
                    backend: Backend::Fentry,
                    probes: &[
                        probe(
                            concat!($name, "_fentry"),
                            Point::Fentry(concat!("__x64_sys_", $name)),
                        ),
                        probe(concat!($name, "_fexit"), Point::Fexit(concat!("__x64_sys_", $name))),
                    ],
                },
                Rung {
                    backend: Backend::Kprobe,
                    probes: &[
                        probe(
                            concat!($name, "_kprobe"),
                            Point::Kprobe(concat!("__x64_sys_", $name)),
                        ),
                        probe("syscalls_exit_raw", Point::RawTracepoint("sys_exit")),
                    ],
                },
                RAW_SYSCALLS,
                Rung {
                    backend: Backend::Tracepoint,
                    probes: &[
                        probe(
                            concat!($name, "_enter"),
                            Point::Tracepoint("syscalls", concat!("sys_enter_", $name)),
                        ),
                        probe(
                            concat!($name, "_exit"),
                            Point::Tracepoint("syscalls", concat!("sys_exit_", $name)),
                        ),
                    ],
                },
            ],
        }
    };
}

/// Two programs that every system call passes, for all six signals.
const RAW_SYSCALLS: Rung = Rung {
    backend: Backend::TpBtf,
    probes: &[
        probe("syscalls_enter_btf", Point::TpBtf("sys_enter")),
        probe("syscalls_exit_btf", Point::TpBtf("sys_exit")),
    ],
};

/// The signal that everything else needs: who comes and who goes.
pub const PROCESS: &str = "process";

/// A signal that is measured only where it is asked for, with `--malloc`.
pub const MALLOC: &str = "malloc";

/// Another one of those: where the kernel has tracepoints only, it makes each system call of the machine
/// a little slower.
pub const FUTEX: &str = "futex";

/// The program of the first at the functions' beginnings.
pub const ALLOCATOR: &str = "allocator_called";
/// Its program at their ends.
pub const ALLOCATOR_RESULT: &str = "allocator_returned";

const fn probe(program: &'static str, point: Point) -> Probe {
    Probe { program, point }
}

/// A look-up's signal: the entry of the kernel's function of that name.
macro_rules! lookup {
    ($name:literal, $purpose:literal, $daemon:expr $(, $rung:expr)?) => {
        Signal {
            name: $name,
            purpose: $purpose,
            daemon: $daemon,
            entries_only: true,
            rungs: &[
                Rung {
                    backend: Backend::Fentry,
                    probes: &[probe(concat!($name, "_fentry"), Point::Fentry($name))],
                },
                Rung {
                    backend: Backend::Kprobe,
                    probes: &[probe(concat!($name, "_kprobe"), Point::Kprobe($name))],
                },
                $($rung,)?
            ],
        }
    };
}

/// Every signal. `process` comes first: threads and processes must be known to end before
/// anything counts them.
pub const CATALOG: &[Signal] = &[
    Signal {
        name: PROCESS,
        purpose: "forks, execs, exits; fault totals of what has ended",
        daemon: InDaemon::Always,
        entries_only: false,
        rungs: &[
            Rung {
                backend: Backend::TpBtf,
                probes: &[
                    probe("fork_btf", Point::TpBtf("sched_process_fork")),
                    probe("exec_btf", Point::TpBtf("sched_process_exec")),
                    probe("exit_btf", Point::TpBtf("sched_process_exit")),
                ],
            },
            Rung {
                backend: Backend::RawTracepoint,
                probes: &[
                    probe("fork_raw", Point::RawTracepoint("sched_process_fork")),
                    probe("exec_raw", Point::RawTracepoint("sched_process_exec")),
                    probe("exit_raw", Point::RawTracepoint("sched_process_exit")),
                ],
            },
            Rung {
                backend: Backend::Tracepoint,
                probes: &[
                    probe("fork_newtask", Point::Tracepoint("task", "task_newtask")),
                    probe("exec_tracepoint", Point::Tracepoint("sched", "sched_process_exec")),
                    probe("exit_tracepoint", Point::Tracepoint("sched", "sched_process_exit")),
                ],
            },
        ],
    },
    syscall!("mmap", "mappings made"),
    syscall!("munmap", "mappings unmade"),
    syscall!("mremap", "mappings grown, shrunk, moved"),
    syscall!("mprotect", "protections changed"),
    syscall!("brk", "the program break moved"),
    syscall!("madvise", "advice on ranges, pages given back"),
    Signal {
        name: "faults",
        purpose: "where page faults fall, and their time",
        daemon: InDaemon::Always,
        entries_only: false,
        rungs: &[
            // An entry that is skipped is one that is not sampled; an exit may not be.
            Rung {
                backend: Backend::Fexit,
                probes: &[
                    probe("fault_fentry", Point::Fentry("handle_mm_fault")),
                    probe("fault_fexit", Point::Fexit("handle_mm_fault")),
                    probe("fault_fexit_2", Point::Fexit("handle_mm_fault")),
                    probe("fault_fexit_3", Point::Fexit("handle_mm_fault")),
                ],
            },
            Rung {
                backend: Backend::Fentry,
                probes: &[
                    probe("fault_fentry", Point::Fentry("handle_mm_fault")),
                    probe("fault_fexit", Point::Fexit("handle_mm_fault")),
                ],
            },
            Rung {
                backend: Backend::Kprobe,
                probes: &[
                    probe("fault_kprobe", Point::Kprobe("handle_mm_fault")),
                    probe("fault_kretprobe", Point::Kretprobe("handle_mm_fault")),
                ],
            },
            Rung { backend: Backend::Perf, probes: &[probe("fault_perf", Point::PageFaults)] },
        ],
    },
    Signal {
        name: "major_faults",
        purpose: "where faults read from disk",
        daemon: InDaemon::Never,
        entries_only: false,
        rungs: &[Rung {
            backend: Backend::Perf,
            probes: &[probe("major_fault_perf", Point::MajorFaults)],
        }],
    },
    Signal {
        name: "mmap_lock",
        purpose: "waits for the lock of the address space",
        daemon: InDaemon::Always,
        entries_only: false,
        rungs: &[
            Rung {
                backend: Backend::RawTracepoint,
                probes: &[
                    probe("contention_begin_raw", Point::RawTracepoint("contention_begin")),
                    probe("contention_end_raw", Point::RawTracepoint("contention_end")),
                ],
            },
            Rung {
                backend: Backend::Kprobe,
                probes: &[
                    probe("lock_read_kprobe", Point::Kprobe("rwsem_down_read_slowpath")),
                    probe("lock_read_kretprobe", Point::Kretprobe("rwsem_down_read_slowpath")),
                    probe("lock_write_kprobe", Point::Kprobe("rwsem_down_write_slowpath")),
                    probe("lock_write_kretprobe", Point::Kretprobe("rwsem_down_write_slowpath")),
                ],
            },
        ],
    },
    lookup!("find_vma", "look-ups of the area at an address", InDaemon::IfAsked),
    lookup!("find_vma_intersection", "look-ups of the first area in a range", InDaemon::IfAsked),
    lookup!("find_vma_prev", "look-ups of an area and the one before", InDaemon::IfAsked),
    lookup!(
        "lock_vma_under_rcu",
        "look-ups by faults, without the lock (6.4 and later)",
        InDaemon::IfAsked
    ),
    lookup!(
        "vm_unmapped_area",
        "searches for a hole that is large enough",
        InDaemon::Always,
        Rung {
            backend: Backend::RawTracepoint,
            probes: &[probe("vm_unmapped_area_raw", Point::RawTracepoint("vm_unmapped_area"))],
        }
    ),
    Signal {
        name: "cpu",
        purpose: "what CPU time goes into",
        daemon: InDaemon::Always,
        entries_only: false,
        rungs: &[Rung { backend: Backend::Perf, probes: &[probe("cpu_clock", Point::CpuClock)] }],
    },
    Signal {
        name: FUTEX,
        purpose: "waits for locks of programs and their allocators",
        daemon: InDaemon::Never,
        entries_only: false,
        rungs: &[
            Rung {
                backend: Backend::Fentry,
                probes: &[
                    probe("futex_fentry", Point::Fentry("__x64_sys_futex")),
                    probe("futex_fexit", Point::Fexit("__x64_sys_futex")),
                ],
            },
            Rung {
                backend: Backend::Tracepoint,
                probes: &[
                    probe("futex_enter", Point::Tracepoint("syscalls", "sys_enter_futex")),
                    probe("futex_exit", Point::Tracepoint("syscalls", "sys_exit_futex")),
                ],
            },
        ],
    },
    Signal {
        name: MALLOC,
        purpose: "calls of the target's allocator",
        daemon: InDaemon::Never,
        entries_only: false,
        rungs: &[
            Rung {
                backend: Backend::UprobeMulti,
                probes: &[
                    probe(ALLOCATOR, Point::AllocatorAtOnce),
                    probe(ALLOCATOR_RESULT, Point::AllocatorAtOnce),
                ],
            },
            Rung {
                backend: Backend::Uprobe,
                probes: &[
                    probe(ALLOCATOR, Point::Allocator),
                    probe(ALLOCATOR_RESULT, Point::Allocator),
                ],
            },
        ],
    },
];
