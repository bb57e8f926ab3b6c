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
