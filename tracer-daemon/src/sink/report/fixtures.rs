use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tracer_common::{AllocationCall, AllocationCounter};

use crate::aggregate::allocation_rate::CallRate;
use crate::aggregate::allocations::{Allocations, Counted, allocations};
use crate::aggregate::exact_sizes::SizedCalls;
use crate::aggregate::snapshot::{
    BlockSum, BlockTotals, Cpu, CpuShare, FaultShare, FaultTotals, FollowedBlocks, Frame,
    LifetimeBlocks, LookupMapping, LookupTotals, Mappings, Module, Overhead, ProbeStatus,
    Quantiles, Resizes, ShortLived, SiteResizes, SizeCycles, Snapshot, StackTotals, SyscallTotals,
    TargetInfo, Tracer, Window,
};
use crate::allocator::{Family, SizeRule};
use crate::census::address_space::{AddressSpace, Growth, census};
use crate::census::{Area, AreaReading, Image};
use crate::diagnose;
use crate::sink::Recording;

fn recording(snapshot: Snapshot) -> Recording {
    let findings = diagnose::all(&snapshot);
    Recording::new(snapshot, findings)
}

fn frame(symbol: &str, module: &str, offset: u64) -> Frame {
    Frame {
        symbol: Some(symbol.to_owned()),
        module: Some(module.to_owned()),
        offset,
        ..Frame::default()
    }
}

fn probe(signal: &str) -> ProbeStatus {
    ProbeStatus {
        signal: signal.to_owned(),
        backend: Some("fentry".to_owned()),
        status: "attached".to_owned(),
        reason: None,
    }
}

fn calls(calls: u64, bytes: u64, seconds: f64) -> SyscallTotals {
    let mut totals = SyscallTotals { calls, bytes, seconds, ..SyscallTotals::default() };
    totals.durations[13] = calls - calls / 20;
    totals.durations[16] = calls / 20;
    totals
}

fn server() -> Snapshot {
    Snapshot {
        tracer: Tracer {
            version: "0.1.0".to_owned(),
            kernel: "6.12.0".to_owned(),
            probes: vec![probe("mmap"), probe("munmap"), probe("faults")],
        },
        target: TargetInfo {
            pid: 4242,
            start_time: Some(12.5),
            comm: "server".to_owned(),
            exe: Some("/opt/server".to_owned()),
            cmdline: vec!["/opt/server".to_owned(), "--port=80".to_owned()],
            threads: Some(4),
            allocator: Some("glibc 2.41".to_owned()),
        },
        window: Window { seconds: 10.0, complete: true, started_at: Some(1.79e9) },
        cpu: Cpu {
            user_seconds: Some(2.0),
            system_seconds: Some(4.0),
            voluntary_switches: Some(812),
            involuntary_switches: Some(40),
        },
        overhead: Some(Overhead { seconds: 0.03, share_of_target: Some(0.005) }),
        ..Snapshot::default()
    }
}

fn calls_of_malloc(duty: f64) -> Allocations {
    let mut malloc = AllocationCounter { calls: 30_000, bytes: 3 << 20, ..AllocationCounter::NONE };
    (malloc.sizes[6], malloc.sizes[7]) = (10_000, 20_000);
    let free = AllocationCounter { calls: 29_000, ..AllocationCounter::NONE };
    let counters = HashMap::from([(AllocationCall::Malloc, malloc), (AllocationCall::Free, free)]);
    let rate = CallRate { estimate: None, low: 250_000.0, high: None };
    let window = Duration::from_secs(10);
    let counted = Counted { window, duty, moments: 1, rate: Some(rate), stack_samples: 1500 };
    let rule = SizeRule::all().find(|rule| rule.family == Family::Glibc);
    let size = |bytes, calls| SizedCalls { call: AllocationCall::Malloc, bytes, calls };
    let all =
        allocations(&counters, counted).with_sizes(&[size(64, 10_000), size(120, 20_000)], rule);
    let (seconds, copied_bytes, grown_bytes) = (10.0 * duty, Some(9 << 20), Some(6 << 20));
    let resizes = Resizes {
        seconds,
        in_place: 300,
        moved: 90,
        copied_bytes,
        grown_bytes,
        ..Resizes::default()
    };
    Allocations { blocks: Some(followed(duty)), resizes: Some(resizes), ..all }
}

/// What a census finds in a small server.
fn space() -> AddressSpace {
    let area = |start, bytes, path: Option<&str>| Area {
        start,
        end: start + bytes,
        readable: true,
        writable: path.is_none(),
        path: path.map(Into::into),
        ..Area::default()
    };
    let reading = AreaReading {
        areas: vec![
            area(0x5555_5555_4000, 0x20_000, Some("/opt/server")),
            area(0x5555_5557_5000, 0x21_000, Some("[heap]")),
            area(0x7f00_0000_0000, 2 << 20, None),
            area(0x7f00_0020_1000, 0x8_000, None),
            area(0x7f00_0020_9000, 0x30_000, Some("/usr/lib/x86_64-linux-gnu/libc.so.6")),
            area(0x7fff_0000_0000, 0x21_000, Some("[stack]")),
        ],
        image: Image::default(),
        limit: Some(65_530),
        lowest: 65_536,
        read_seconds: 80e-6,
        torn: 0,
        unreadable: 0,
    };
    let growth = Some(Growth { areas_before: 5, seconds: 10.0 });
    AddressSpace { growth, ..census(&reading, &[(2 << 20) + 4096]) }
}

fn lookups() -> LookupTotals {
    let row = |name: &str, areas, share| LookupMapping { name: name.to_owned(), areas, share };
    LookupTotals {
        calls: 100_000,
        why: BTreeMap::from([("fault".to_owned(), 1.0)]),
        mappings: vec![row("anon 2052 KiB", 4, 0.9), row("[heap]", 1, 0.1)],
        ..LookupTotals::default()
    }
}

/// What samples found `handle_request` at.
fn sampled(kind: &str, place: &str, count: u64, seconds: Option<f64>) -> StackTotals {
    let frames = vec![
        frame("handle_request", "/opt/server", 0x1_220),
        frame("serve", "/opt/server", 0x1_4d0),
    ];
    let (kind, place) = (kind.to_owned(), Some(place.to_owned()));
    StackTotals { kind, place, frames, count, seconds, ..StackTotals::default() }
}

/// What samples found `function` to have asked for.
fn allocated(function: &str, count: u64, bytes: u64) -> StackTotals {
    let frames = vec![
        frame("malloc", "/usr/lib/x86_64-linux-gnu/libc.so.6", 0xa_0a10),
        frame("operator new(unsigned long)", "/usr/lib/x86_64-linux-gnu/libstdc++.so.6", 0xa_e15c),
        frame(function, "/opt/server", 0x1_300),
        frame("serve", "/opt/server", 0x1_4d0),
    ];
    let (kind, place) = ("malloc".to_owned(), Some("malloc".to_owned()));
    let (held, freed) = (bytes / 4, bytes - bytes / 4);
    let blocks = Some(fate(count / 4, held, count - count / 4, freed));
    let resizes = SiteResizes { samples: 20, copied_bytes: bytes / 2, ..SiteResizes::default() };
    let resizes = Some(resizes);
    StackTotals { kind, place, frames, count, bytes, blocks, resizes, ..StackTotals::default() }
}

fn fate(held: u64, held_bytes: u64, freed: u64, freed_bytes: u64) -> BlockTotals {
    BlockTotals {
        freed: BlockSum { blocks: freed, bytes: freed_bytes },
        outstanding: Some(BlockSum { blocks: held, bytes: held_bytes }),
        lifetimes: vec![
            LifetimeBlocks { seconds: 16e-6, blocks: freed / 2 },
            LifetimeBlocks { seconds: 1.1, blocks: freed - freed / 2 },
        ],
        ..BlockTotals::default()
    }
}

/// All of the window, or a part of it.
fn followed(duty: f64) -> FollowedBlocks {
    let totals = fate(7_500, 3 << 18, 22_500, 9 << 18);
    let outstanding = totals.outstanding.filter(|_| duty == 1.0);
    let unknown = if duty < 1.0 { BlockSum { blocks: 9, bytes: 900 } } else { BlockSum::default() };
    FollowedBlocks {
        seconds: 10.0 * duty,
        samples: 1_400,
        totals: BlockTotals { outstanding, unknown, ..totals },
        handed_out: 30_000,
        given_back: 29_000,
        untold: vec!["calloc".to_owned()],
    }
}

/// 2,000 requests a second, each with a buffer of 2 MiB of which six pages are touched.
pub(crate) fn churning() -> Recording {
    let mapping = (2 << 20) + 4096;
    let mut failing = calls(20_120, 20_100 * mapping, 0.12);
    (failing.failures, failing.errnos) = (20, BTreeMap::from([(12, 18), (133, 2)]));
    let cpu_samples = [("fault", 0.41), ("user", 0.33), ("munmap", 0.2), ("mmap", 0.06)];
    recording(Snapshot {
        syscalls: BTreeMap::from([
            ("mmap".to_owned(), failing),
            ("munmap".to_owned(), calls(20_050, 20_050 * mapping, 0.41)),
            ("brk".to_owned(), calls(12, 1 << 20, 8e-6)),
        ]),
        faults: FaultTotals {
            minor: Some(125_000),
            major: Some(0),
            seconds: Some(1.5625),
            samples: 1232,
        },
        mappings: Some(Mappings {
            cycles: 20_050,
            short_lived: 20_000,
            lifetime_seconds: Some(Quantiles { p50: 84e-6, p90: 130e-6, p99: 260e-6 }),
            sizes: vec![
                SizeCycles { bytes: mapping, cycles: 20_000 },
                SizeCycles { bytes: 528_384, cycles: 50 },
            ],
            short: ShortLived {
                at_once: 4,
                birth_seconds: 0.1,
                death_seconds: 0.4,
                faults: FaultShare { share: Some(0.96), samples: (1183, 1232) },
            },
        }),
        cpu_samples: cpu_samples
            .map(|(place, share)| CpuShare { place: place.to_owned(), share })
            .to_vec(),
        lookups: BTreeMap::from([("find_vma".to_owned(), lookups())]),
        allocations: Some(calls_of_malloc(1.0)),
        address_space: Some(space()),
        stacks: vec![
            StackTotals {
                kind: "mmap".to_owned(),
                place: None,
                frames: vec![
                    frame("mmap64", "/usr/lib/x86_64-linux-gnu/libc.so.6", 0x11_7ab0),
                    frame("sysmalloc", "/usr/lib/x86_64-linux-gnu/libc.so.6", 0x9_f2c1),
                    frame("malloc", "/usr/lib/x86_64-linux-gnu/libc.so.6", 0xa_0a10),
                    frame("handle_request", "/opt/server", 0x1_21c),
                    frame("serve", "/opt/server", 0x1_4d0),
                ],
                count: 20_000,
                bytes: 20_000 * mapping,
                seconds: Some(0.1),
                ..StackTotals::default()
            },
            sampled("cpu", "fault", 160, Some(1.3)),
            sampled("lookup", "find_vma", 75_000, None),
            allocated("handle_request", 20_000, 2 << 20),
            allocated("parse_header", 10_000, 1 << 20),
        ],
        modules: vec![Module {
            module: "/usr/lib/x86_64-linux-gnu/libc.so.6".to_owned(),
            build_id: Some("2eb0d5".to_owned()),
        }],
        ..server()
    })
}

/// It maps now and then.
pub(crate) fn healthy() -> Recording {
    recording(Snapshot {
        syscalls: BTreeMap::from([("mmap".to_owned(), calls(40, 1 << 24, 0.002))]),
        faults: FaultTotals { minor: Some(300), major: Some(2), seconds: None, samples: 0 },
        mappings: Some(Mappings::default()),
        ..server()
    })
}

/// Churning, on a kernel without probes for faults and with a ring buffer that ran over, and with
/// names that somebody chose with care.
pub(crate) fn lossy() -> Recording {
    let mut snapshot = churning().snapshot;
    snapshot.window.complete = false;
    snapshot.lost = BTreeMap::from([
        ("mapping_records".to_owned(), 1200),
        ("missed_return".to_owned(), 0),
        ("of_tomorrow".to_owned(), 3),
    ]);
    snapshot.faults = FaultTotals::default();
    snapshot.overhead = None;
    snapshot.allocations = Some(calls_of_malloc(0.02));
    let fates = snapshot.stacks.iter_mut().filter_map(|stack| stack.blocks.as_mut());
    fates.for_each(|fate| fate.outstanding = None);
    let allocator = ProbeStatus { reason: Some("not in mallocx".to_owned()), ..probe("malloc") };
    snapshot.tracer.probes.push(allocator);
    snapshot.tracer.probes[2] = ProbeStatus {
        signal: "faults".to_owned(),
        backend: None,
        status: "failed".to_owned(),
        reason: Some("the kernel has neither handle_mm_fault\nnor the tracepoint".to_owned()),
    };
    snapshot.target.comm = "ev\x1b[2Jil\n".to_owned();
    snapshot.target.cmdline = vec!["/opt/\x1b]0;title\x07".to_owned(), "x".repeat(500)];
    snapshot.stacks[0].frames[3].symbol = Some("handle\r\x1b[31m".repeat(30));
    snapshot.stacks[0].frames[4].module = Some("/tmp/名\u{202e}".repeat(60));
    recording(snapshot)
}
