use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::*;
use crate::sink::report::fixtures;

fn keys(value: &Value) -> BTreeSet<&str> {
    let object = value.as_object().expect("an object");
    object.keys().map(String::as_str).collect()
}

fn json(recording: &Recording) -> Value {
    let mut text = Vec::new();
    recording.write_to(&mut text).expect("memory takes it");
    serde_json::from_slice(&text).expect("it is JSON")
}

/// INTERFACE's keys of all that is built.
const CONTRACT: &[(&str, &str)] = &[
    (
        "",
        "schema tracer target window cpu syscalls faults mappings lookups cpu_samples allocations \
         address_space stacks modules findings lost overhead",
    ),
    ("/tracer", "version kernel probes"),
    ("/tracer/probes/0", "signal backend status reason"),
    ("/target", "pid start_time comm exe cmdline threads allocator"),
    ("/window", "seconds complete started_at"),
    ("/cpu", "user_seconds system_seconds voluntary_switches involuntary_switches"),
    ("/syscalls/mmap", "calls failures bytes seconds"),
    ("/faults", "minor major seconds"),
    ("/mappings", "cycles short_lived lifetime_seconds sizes"),
    ("/mappings/lifetime_seconds", "p50 p90 p99"),
    ("/mappings/sizes/0", "bytes cycles"),
    ("/lookups/find_vma", "calls seconds share why paths mappings"),
    ("/lookups/find_vma/mappings/0", "name areas share"),
    ("/cpu_samples/0", "where share"),
    (
        "/allocations",
        "functions sizes exact_sizes size_rule duty moments weight calls_per_second sampled stack_samples blocks \
         resizes",
    ),
    ("/allocations/functions/malloc", "calls failures bytes"),
    ("/allocations/sizes/0", "bytes calls"),
    ("/allocations/exact_sizes/0", "bytes calls taken"),
    ("/allocations/calls_per_second", "estimate low high"),
    (
        "/allocations/blocks",
        "seconds samples freed outstanding unknown lifetimes handed_out given_back untold",
    ),
    ("/allocations/blocks/freed", "blocks bytes"),
    ("/allocations/blocks/lifetimes/0", "seconds blocks"),
    (
        "/allocations/resizes",
        "seconds fresh in_place moved remapped freed failed copied_bytes grown_bytes unsized_moves unsized_bytes",
    ),
    ("/address_space", "areas limit kinds sizes unmerged holes requests read_seconds"),
    ("/address_space/kinds/0", "kind areas bytes"),
    ("/address_space/sizes/0", "bytes areas"),
    ("/address_space/unmerged", "gap protection flags file anon_vma_or_other"),
    ("/address_space/holes", "count bytes largest sizes"),
    ("/address_space/holes/sizes/0", "bytes holes"),
    ("/address_space/requests/0", "bytes holes_too_small"),
    ("/stacks/0", "kind frames count bytes seconds"),
    ("/stacks/1", "kind where frames count bytes seconds"),
    ("/stacks/3", "kind where frames count bytes seconds blocks resizes"),
    ("/stacks/3/blocks", "freed outstanding unknown lifetimes"),
    (
        "/stacks/3/resizes",
        "samples in_place moved remapped copied_bytes grown_bytes unsized_moves largest",
    ),
    ("/stacks/0/frames/0", "symbol module offset file line"),
    ("/modules/0", "module build_id"),
    ("/findings/0", "id severity summary evidence cause cost remedy predicted_saving confidence"),
    ("/overhead", "seconds share_of_target"),
];

#[test]
fn the_keys_are_those_of_the_contract() {
    let json = json(&fixtures::churning());
    for (place, expected) in CONTRACT {
        let found = keys(json.pointer(place).expect(place));
        assert_eq!(found, expected.split_whitespace().collect(), "{place}");
    }
    assert_eq!(json["schema"], 1);
}

#[test]
fn what_was_not_measured_is_absent_or_null() {
    let json = json(&Recording::new(Snapshot::default(), Vec::new()));
    assert!(json.get("address_space").is_none());
    assert!(json.get("mappings").is_none() && json.get("cpu_samples").is_none());
    assert!(json["faults"]["minor"].is_null() && json["overhead"].is_null());
}

#[test]
fn what_was_saved_is_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.json");
    std::fs::write(&path, "older").expect("written");
    let recording = fixtures::churning();
    recording.save(&path).expect("saved");
    let read = Recording::load(&path).expect("read");
    assert_eq!(json(&read), json(&recording));
    let files = std::fs::read_dir(folder.path()).expect("listed").count();
    assert_eq!(files, 1, "no unfinished file is left");
}

#[test]
fn a_link_stays_a_link() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, link) = (folder.path().join("file"), folder.path().join("link"));
    std::fs::write(&file, "older").expect("written");
    std::os::unix::fs::symlink(&file, &link).expect("linked");
    fixtures::healthy().save(&link).expect("saved");
    assert!(std::fs::symlink_metadata(&link).expect("there").is_symlink());
    assert!(Recording::load(&file).is_ok());
}

#[test]
fn a_failure_leaves_the_old_file_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run.json");
    std::fs::write(&path, "older").expect("written");
    let full = save(&path, |sink| {
        sink.write_all(b"{")?;
        Err(std::io::Error::from_raw_os_error(libc::ENOSPC))
    });
    let error = RecordingError::write(&path, &full.expect_err("full")).to_string();
    assert!(error.contains("No space left on device; make room"), "{error}");
    assert_eq!(std::fs::read_to_string(&path).expect("there"), "older");
    assert_eq!(std::fs::read_dir(folder.path()).expect("listed").count(), 1);
}

#[test]
fn a_full_device_and_a_missing_folder_are_one_line_each() {
    for (path, words) in [
        ("/dev/full", "No space left on device; make room"),
        ("/nowhere/run.json", "No such file or directory; make the directory"),
        ("/", "is a directory; give the name of a file"),
        ("/no\nwhere/x", "/no\\nwhere/x"),
    ] {
        let error = fixtures::healthy().save(Path::new(path)).expect_err(path).to_string();
        assert!(error.contains(words), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
}

#[test]
fn a_pipe_is_written_directly() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("mkfifo runs").success());
    let reader = {
        let path = path.clone();
        std::thread::spawn(move || Recording::load(&path))
    };
    fixtures::healthy().save(&path).expect("the reader takes it");
    assert!(reader.join().expect("joined").is_ok());
    assert!(!path.is_file(), "it is still a pipe");
}

#[test]
fn what_is_no_recording_is_refused_in_one_line() {
    for (text, words) in [
        ("", "it is not JSON"),
        ("{\"schema\": 1, \"targ", "cut off"),
        ("hello", "it is not JSON"),
        ("[]", "no `schema`"),
        ("{\"schema\": \"1\"}", "no `schema`"),
        ("{\"schema\": 2}", "its schema is 2, and this alloctrace knows up to 1; use a newer"),
        ("{\"schema\": 1, \"window\": 3}", "no recording of alloctrace"),
    ] {
        let error = Recording::read_from(text.as_bytes(), "run.json").expect_err(text).to_string();
        assert!(error.contains(words), "{text}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}
