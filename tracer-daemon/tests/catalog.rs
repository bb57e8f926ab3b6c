//! The table of probes against the compiled programs, both ways.

use std::collections::{BTreeMap, BTreeSet};

use alloctrace::probes::{
    attach::OBJECT,
    catalog::{CATALOG, Point, Probe},
};
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

/// The compiled programs: name → the section that says their kind.
fn programs() -> BTreeMap<String, String> {
    let file = object::File::parse(OBJECT).expect("the programs are an ELF file");
    file.symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.is_global())
        .filter_map(|symbol| {
            let section = file.section_by_index(symbol.section_index()?).ok()?;
            Some((symbol.name().ok()?.to_owned(), section.name().ok()?.to_owned()))
        })
        .filter(|(_, section)| section != ".text")
        .collect()
}

fn rows() -> impl Iterator<Item = &'static Probe> {
    CATALOG.iter().flat_map(|signal| signal.rungs).flat_map(|rung| rung.probes)
}

/// The section in which aya looks for a program of this kind.
fn section(point: Point) -> &'static str {
    match point {
        Point::Fentry(_) => "fentry",
        Point::Fexit(_) => "fexit",
        Point::Kprobe(_) => "kprobe",
        Point::Kretprobe(_) => "kretprobe",
        Point::TpBtf(_) => "tp_btf",
        Point::RawTracepoint(_) => "raw_tp",
        Point::Tracepoint(..) => "tracepoint",
        Point::PageFaults | Point::MajorFaults | Point::CpuClock => "perf_event",
        Point::Allocator | Point::AllocatorAtOnce => "uprobe",
    }
}

#[test]
fn every_row_has_its_program() {
    let programs = programs();
    for row in rows() {
        let found = programs.get(row.program);
        assert_eq!(found.map(String::as_str), Some(section(row.point)), "{}", row.program);
    }
}

#[test]
fn every_program_has_its_row() {
    let known: BTreeSet<_> = rows().map(|row| row.program).collect();
    let programs = programs();
    assert!(programs.len() > 40, "only {} programs were found", programs.len());
    for program in programs.keys() {
        assert!(known.contains(program.as_str()), "{program} is in no row");
    }
}

#[test]
fn signals_and_their_rungs_are_named_once() {
    let mut signals = BTreeSet::new();
    for signal in CATALOG {
        assert!(signals.insert(signal.name), "{} stands twice", signal.name);
        let mut backends = BTreeSet::new();
        for rung in signal.rungs {
            assert!(backends.insert(rung.backend.name()), "{} of {}", rung.backend, signal.name);
            assert!(!rung.probes.is_empty());
        }
    }
}

#[test]
fn every_map_that_is_loaded_exists() {
    let file = object::File::parse(OBJECT).expect("the programs are an ELF file");
    let maps: BTreeSet<_> = file.symbols().filter_map(|symbol| symbol.name().ok()).collect();
    let names = [
        "EVENTS",
        "TARGETS",
        "THREADS",
        "SYSCALLS",
        "ERRNOS",
        "EXITS",
        "LOST",
        "CONTROL",
        "READERS",
        "FAULT_TIMES",
        "FUTEX_WAITS",
        "LIFECYCLES",
        "LOOKUPS",
        "LOCK_WAITS",
        "SITES",
        "ALLOCATIONS",
        "EXACT_SIZES",
        "PROBE_HITS",
        "BLOCKS",
    ];
    for map in names {
        assert!(maps.contains(map), "{map}");
    }
}

/// See the map `NO_PROGRAMS`. The instruction: a call (0x85) of the kernel's helper 12, `bpf_tail_call`.
#[test]
fn programs_that_can_be_preempted_keep_to_their_threads_stack() {
    const TAIL_CALL: [u8; 8] = [0x85, 0, 0, 0, 12, 0, 0, 0];
    let file = object::File::parse(OBJECT).expect("the programs are an ELF file");
    let uprobes = file.section_by_name(section(Point::Allocator)).expect("there are uprobes");
    let code = uprobes.data().expect("they have instructions");
    let programs = file.symbols().filter(|symbol| {
        symbol.kind() == SymbolKind::Text && symbol.section_index() == Some(uprobes.index())
    });
    let mut checked = 0;
    for program in programs.filter(ObjectSymbol::is_global) {
        let (begin, size) = (program.address() as usize, program.size() as usize);
        let mut instructions = code[begin..begin + size].chunks_exact(8);
        assert!(instructions.any(|one| one == TAIL_CALL), "{:?}", program.name());
        checked += 1;
    }
    assert_eq!(checked, 2);
}
