//! Lines for people on stderr. Where that is systemd's journal, each begins with how urgent it is, as
//! sd-daemon(3) has it; a terminal has the program's name there.

use std::{
    io::{self, Write},
    os::linux::fs::MetadataExt as _,
    sync::{LazyLock, Mutex, MutexGuard, PoisonError},
};

use log::{Level, LevelFilter};

use crate::humanize::escaped;

/// Asked for once: nobody changes stderr while the program runs.
static IS_JOURNAL: LazyLock<bool> = LazyLock::new(|| {
    let journal = std::env::var("JOURNAL_STREAM").ok();
    let stderr = std::fs::metadata("/proc/self/fd/2").ok();
    stderr.is_some_and(|file| is_journal(journal.as_deref(), file.st_dev(), file.st_ino()))
});

/// Lines that can wait. More of them than anybody reads say the same.
const MOST_HELD: usize = 100;

/// Lines that wait for the terminal; `None`: it is free.
static HELD: Mutex<Option<Vec<String>>> = Mutex::new(None);

/// What the program wants to be known.
pub(super) fn say(line: &str) {
    put(Level::Info, line);
}

/// What somebody may want to do something about.
pub(super) fn warn(line: &str) {
    put(Level::Warn, line);
}

/// Why the program ends.
pub(super) fn fail(line: &str) {
    put(Level::Error, line);
}

/// Has diagnostics of these levels shown in the same way.
pub(super) fn show_diagnostics(level: LevelFilter) {
    env_logger::Builder::new()
        .filter_module("alloctrace", level)
        .filter_module("tracer_ebpf", level)
        .format(|out, record| {
            let line = formatted(record.level(), &record.args().to_string(), *IS_JOURNAL);
            write(out, line)
        })
        .init();
}

/// From here on lines wait, for they would tear what is drawn on the terminal.
pub(super) fn hold() {
    *held() = Some(Vec::new());
}

/// Writes those that have waited, and from here on each at once.
pub(super) fn release() {
    let waited = held().take();
    for line in waited.into_iter().flatten() {
        // As in `put`.
        let _ = write(&mut io::stderr(), line);
    }
}

fn put(level: Level, line: &str) {
    // There is nobody to be told that stderr is closed.
    let _ = write(&mut io::stderr(), formatted(level, line, *IS_JOURNAL));
}

fn write(out: &mut impl Write, line: String) -> io::Result<()> {
    match held().as_mut() {
        None => writeln!(out, "{line}"),
        Some(waiting) => {
            if waiting.len() < MOST_HELD {
                waiting.push(line);
            }
            Ok(())
        }
    }
}

fn held() -> MutexGuard<'static, Option<Vec<String>>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

fn formatted(level: Level, line: &str, for_journal: bool) -> String {
    let line = escaped(line);
    if !for_journal {
        return format!("alloctrace: {line}");
    }
    // The numbers of syslog(3).
    let priority = match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    };
    format!("<{priority}>{line}")
}

/// Whether the file with these numbers is what systemd says it connected to the journal, as in `8:12345`.
fn is_journal(stream: Option<&str>, device: u64, inode: u64) -> bool {
    stream.is_some_and(|stream| stream == format!("{device}:{inode}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journal_is_told_how_urgent_a_line_is() {
        assert_eq!(formatted(Level::Error, "no", true), "<3>no");
        assert_eq!(formatted(Level::Warn, "<3>a\nb", true), "<4><3>a\\nb");
        assert_eq!(formatted(Level::Info, "serving", true), "<6>serving");
        assert_eq!(formatted(Level::Debug, "details", true), "<7>details");
        assert_eq!(formatted(Level::Error, "no", false), "alloctrace: no");
    }

    #[test]
    fn lines_wait_while_something_is_drawn() {
        let mut out = Vec::new();
        hold();
        for line in 0..2 * MOST_HELD {
            write(&mut out, line.to_string()).expect("memory can be written to");
        }
        assert!(out.is_empty());
        assert_eq!(held().take().map(|waited| waited.len()), Some(MOST_HELD));
        write(&mut out, "at once".to_owned()).expect("memory can be written to");
        assert_eq!(out, b"at once\n");
    }

    #[test]
    fn the_journal_is_the_very_file_that_systemd_names() {
        assert!(is_journal(Some("8:12345"), 8, 12345));
        for other in [None, Some(""), Some("8:1234"), Some("8:12345 "), Some("12345:8")] {
            assert!(!is_journal(other, 8, 12345), "{other:?}");
        }
    }
}
