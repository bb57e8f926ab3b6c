#![expect(clippy::unwrap_used, reason = "a test may panic")]

use super::*;

/// Writes BTF.
#[derive(Default)]
struct Blob {
    types: Vec<u8>,
    strings: Vec<u8>,
}

impl Blob {
    fn new() -> Self {
        Self { types: Vec::new(), strings: vec![0] }
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let at = self.strings.len();
        self.strings.extend(name.as_bytes());
        self.strings.push(0);
        u32::try_from(at).unwrap()
    }

    fn words(&mut self, words: &[u32]) {
        self.types.extend(words.iter().flat_map(|w| w.to_ne_bytes()));
    }

    /// A type without a tail, or with the given one.
    fn plain(&mut self, name: &str, info: u32, size_or_type: u32, tail: &[u32]) {
        let name = self.name(name);
        self.words(&[name, info, size_or_type]);
        self.words(tail);
    }

    /// Members are (name, type, place in bits).
    fn structure(&mut self, name: &str, flag: bool, members: &[(&str, u32, u32)]) {
        let count = u32::try_from(members.len()).unwrap();
        let info = KIND_STRUCT << 24 | u32::from(flag) << 31 | count;
        self.plain(name, info, 64, &[]);
        for &(name, kind, place) in members {
            let name = self.name(name);
            self.words(&[name, kind, place]);
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let types = u32::try_from(self.types.len()).unwrap();
        let strings = u32::try_from(self.strings.len()).unwrap();
        let mut bytes = MAGIC.to_ne_bytes().to_vec();
        bytes.extend([1, 0]);
        for word in [24, 0, types, types, strings] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes.extend(&self.types);
        bytes.extend(&self.strings);
        bytes
    }

    fn parse(&self) -> Btf {
        Btf::parse(self.bytes()).unwrap()
    }
}

/// A task with members in an anonymous structure behind a qualifier, as with randomised layouts.
fn task() -> Blob {
    let mut blob = Blob::new();
    blob.plain("int", 1 << 24, 4, &[32]);
    blob.structure("", false, &[("mm", 1, 64), ("pid", 1, 128)]);
    blob.plain("", 10 << 24, 2, &[]);
    blob.structure("task_struct", true, &[("state", 1, 0), ("flag", 1, 1 << 24 | 37), ("", 3, 64)]);
    blob.plain("bpf_task_pt_regs", KIND_FUNC << 24, 1, &[]);
    blob
}

#[test]
fn members_are_found_inside_anonymous_structures() {
    let btf = task().parse();
    assert_eq!(btf.member_offset("task_struct", "state"), Some(0));
    assert_eq!(btf.member_offset("task_struct", "mm"), Some(16));
    assert_eq!(btf.member_offset("task_struct", "pid"), Some(24));
    assert_eq!(btf.member_offset("task_struct", "tgid"), None);
    assert_eq!(btf.member_offset("task", "pid"), None);
}

#[test]
fn a_bit_field_has_no_place() {
    assert_eq!(task().parse().member_offset("task_struct", "flag"), None);
    let mut blob = Blob::new();
    blob.structure("old", false, &[("three", 1, 3)]);
    assert_eq!(blob.parse().member_offset("old", "three"), None);
}

#[test]
fn functions_are_told_from_other_names() {
    let btf = task().parse();
    assert!(btf.has_function("bpf_task_pt_regs"));
    assert!(!btf.has_function("bpf_task_pt_reg"));
    assert!(!btf.has_function("task_struct"));
}

#[test]
fn every_kind_is_skipped_by_its_length() {
    let mut blob = Blob::new();
    for (kind, count, tail) in [
        (1, 0, 1),
        (2, 0, 0),
        (3, 0, 3),
        (4, 2, 6),
        (5, 1, 3),
        (6, 3, 6),
        (7, 0, 0),
        (8, 0, 0),
        (9, 0, 0),
        (10, 0, 0),
        (11, 0, 0),
        (12, 1, 0),
        (13, 2, 4),
        (14, 0, 1),
        (15, 2, 6),
        (16, 0, 0),
        (17, 0, 1),
        (18, 0, 0),
        (19, 2, 6),
    ] {
        // The vlen of a function is its linkage: nothing follows.
        blob.plain("", kind << 24 | count, 0, &vec![0; tail]);
    }
    blob.structure("last", false, &[("x", 1, 8)]);
    assert_eq!(blob.parse().member_offset("last", "x"), Some(1));
}

#[test]
fn an_unknown_kind_is_an_error() {
    let mut blob = Blob::new();
    blob.plain("", 0x7f << 24, 0, &[]);
    let error = Btf::parse(blob.bytes()).unwrap_err();
    assert!(matches!(error, BtfError::UnknownKind { id: 1, kind: 0x7f }));
}

#[test]
fn data_cut_short_is_an_error_and_never_a_panic() {
    let whole = task().bytes();
    for length in 0..whole.len() {
        assert!(Btf::parse(whole[..length].to_vec()).is_err(), "{length}");
    }
}

#[test]
fn absurd_numbers_find_nothing() {
    let whole = task().bytes();
    for at in (4..whole.len()).step_by(4) {
        for value in [u32::MAX, u32::MAX - 3, 0x8000_0000, 1 << 24] {
            let mut bytes = whole.clone();
            let end = (at + 4).min(bytes.len());
            bytes[at..end].copy_from_slice(&value.to_ne_bytes()[..end - at]);
            if let Ok(btf) = Btf::parse(bytes) {
                let _ = btf.member_offset("task_struct", "pid");
                let _ = btf.has_function("bpf_task_pt_regs");
            }
        }
    }
}

#[test]
fn structures_that_contain_each_other_come_to_an_end() {
    let mut blob = Blob::new();
    blob.structure("a", false, &[("", 1, 0), ("", 2, 0)]);
    blob.structure("b", false, &[("", 1, 0), ("", 1, 0), ("x", 1, 0)]);
    blob.plain("loop", KIND_TYPEDEF << 24, 3, &[]);
    blob.structure("c", false, &[("", 3, 0)]);
    assert_eq!(blob.parse().member_offset("a", "y"), None);
    assert_eq!(blob.parse().member_offset("c", "y"), None);
}

#[test]
fn other_data_is_refused() {
    assert!(matches!(Btf::parse(vec![0; 64]), Err(BtfError::Magic)));
    assert!(matches!(Btf::parse(vec![]), Err(BtfError::Truncated(0))));
}
