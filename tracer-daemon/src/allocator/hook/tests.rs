#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{fs, path::Path};

use super::*;

/// The code of a function of Debian 12's libraries.
fn function(name: &str) -> Vec<u8> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/functions");
    fs::read(fixtures.join(name).with_extension("bin")).unwrap()
}

const fn hook(offset: u64, emulated: bool) -> Option<Hook> {
    Some(Hook { offset, pushed: 0, emulated })
}

#[test]
fn real_functions_have_these_places() {
    for (name, arguments, place) in [
        ("glibc-malloc", 1, hook(0, true)),
        ("glibc-calloc", 2, hook(0, true)),
        ("glibc-realloc", 2, hook(0, true)),
        // It changes all of them before anything that is emulated.
        ("glibc-reallocarray", 3, hook(0, false)),
        // The jump over everything if there is nothing to free.
        ("glibc-free", 1, hook(3, true)),
        ("glibc-posix_memalign", 3, hook(7, true)),
        ("glibc-aligned_alloc", 2, hook(7, true)),
        ("jemalloc-malloc", 1, hook(7, true)),
        ("jemalloc-calloc", 2, hook(0, true)),
        ("jemalloc-realloc", 2, hook(0, true)),
        ("jemalloc-free", 1, hook(48, true)),
        ("jemalloc-mallocx", 1, hook(0, true)),
        ("jemalloc-_Znwm", 1, hook(7, true)),
        ("tcmalloc-malloc", 1, hook(10, true)),
        ("tcmalloc-realloc", 2, hook(0, true)),
        ("tcmalloc-free", 1, hook(10, true)),
        ("tcmalloc-_Znwm", 1, hook(10, true)),
        // The size moves to another register before the first jump.
        ("mimalloc-malloc", 1, hook(0, false)),
        ("mimalloc-realloc", 2, hook(0, false)),
        ("mimalloc-free", 1, hook(6, true)),
        ("libstdc++-_Znwm", 1, hook(12, true)),
        ("libstdc++-_ZdlPv", 1, hook(4, true)),
        ("musl-malloc", 1, hook(0, true)),
        ("musl-calloc", 2, hook(0, true)),
        ("musl-free", 1, hook(0, true)),
    ] {
        assert_eq!(choose(&function(name), arguments), place, "{name}");
    }
}

#[test]
fn a_place_that_may_be_passed_twice_or_never_is_none() {
    // jmp to itself; a loop whose head is behind the first instruction.
    assert_eq!(choose(b"\xeb\xfe", 1), None);
    assert_eq!(choose(b"\x48\x89\xf8\x53\xeb\xfd", 1), hook(0, false));
    // A switch may go anywhere behind the beginning.
    assert_eq!(choose(b"\x48\x89\xf8\x53\xff\xe0", 1), hook(0, false));
    // Behind a jump only some calls come.
    assert_eq!(choose(b"\x48\x85\xff\x0f\x94\xc0\xc3\x53", 1), hook(0, false));
}

#[test]
fn arguments_must_be_as_they_were() {
    // xor edi, edi; push rbx
    assert_eq!(choose(b"\x31\xff\x53\xc3", 1), hook(0, false));
    assert_eq!(choose(b"\x31\xf6\x53\xc3", 1), hook(2, true));
    assert_eq!(choose(b"\x31\xf6\x53\xc3", 2), hook(0, false));
}

#[test]
fn what_was_pushed_is_known() {
    // sub rsp, 24; push rbx: a place behind a frame.
    let place = Hook { offset: 4, pushed: 24, emulated: true };
    assert_eq!(choose(b"\x48\x83\xec\x18\x53\xc3", 1), Some(place));
    // and rsp, -16: by how much it moves is not known.
    assert_eq!(choose(b"\x48\x83\xe4\xf0\x53\xc3", 1), hook(0, false));
}

#[test]
fn bytes_that_are_no_code_are_refused() {
    assert_eq!(choose(b"", 1), None);
    assert_eq!(choose(b"\x53\x06", 1), None);
    assert_eq!(choose(b"\x53\xe8\x00", 1), None);
}

fn exits_of(code: &[u8]) -> Option<(Vec<Hook>, Vec<u64>)> {
    exits(code).map(|exits| (exits.returns, exits.jumps))
}

#[test]
fn real_functions_return_here() {
    for (name, returns, jumps) in [
        ("glibc-malloc", &[0x100, 0x182, 0x236][..], 0),
        // To memset.
        ("glibc-calloc", &[0x1bc, 0x277], 1),
        // To malloc.
        ("glibc-realloc", &[0x172], 1),
        ("glibc-reallocarray", &[0x20], 1),
        ("jemalloc-calloc", &[0x18f], 0),
        ("jemalloc-malloc", &[0x9d], 1),
        ("jemalloc-mallocx", &[0x378], 0),
        ("tcmalloc-malloc", &[0x71], 4),
        ("tcmalloc-realloc", &[0x1c6], 0),
        ("mimalloc-malloc", &[0x3b], 1),
        ("musl-malloc", &[], 1),
    ] {
        let found = exits_of(&function(name)).unwrap();
        let returns = returns.iter().map(|at| Hook { offset: *at, pushed: 0, emulated: false });
        assert_eq!(found.0, returns.collect::<Vec<_>>(), "{name}");
        assert_eq!(found.1.len(), jumps, "{name}: {:x?}", found.1);
    }
}

#[test]
fn exits_that_cannot_all_be_seen_are_refused() {
    // A switch; a jump into an instruction; code that runs on; code after which nothing is known.
    assert_eq!(exits_of(b"\x85\xff\x74\x02\xff\xe0\xc3"), None);
    assert_eq!(exits_of(b"\x75\x01\x48\x89\xf8\xc3"), None);
    assert_eq!(exits_of(b"\xc3\x53"), None);
    assert_eq!(exits_of(b"\xc3\x74\xfd"), None);
    assert_eq!(exits_of(b""), None);
    // ret 8
    assert_eq!(exits_of(b"\xc2\x08\x00"), None);
}

#[test]
fn an_emulated_instruction_is_taken_where_it_leads_to_the_return_only() {
    let ret = |offset| Hook { offset, pushed: 0, emulated: false };
    // nop; add rsp, 24; pop rbx; ret
    let cheap = Hook { offset: 0, pushed: 32, emulated: true };
    assert_eq!(exits_of(b"\x90\x48\x83\xc4\x18\x5b\xc3"), Some((vec![cheap], vec![])));
    // The same, with a jump to the pop.
    let code = b"\x74\x05\x90\x48\x83\xc4\x18\x5b\xc3";
    assert_eq!(exits_of(code), Some((vec![ret(8)], vec![])));
    // nop; mov rax, rbx; ret
    assert_eq!(exits_of(b"\x90\x48\x89\xd8\xc3"), Some((vec![ret(4)], vec![])));
    // nop; leave; ret: by how much the stack pointer moves is not known.
    assert_eq!(exits_of(b"\x90\xc9\xc3"), Some((vec![ret(2)], vec![])));
}
