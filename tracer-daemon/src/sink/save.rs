use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Names that a process knows its own output by. Opened as files they would be written from
/// their beginning, over what is there.
const OWN_OUTPUT: [&str; 4] = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];

/// Lets `write` fill `path`. A regular file is replaced as a whole, when the new one is complete
/// and on disk; a terminal, a pipe or a device is written as it is.
pub(crate) fn save(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    if OWN_OUTPUT.iter().any(|name| path == Path::new(name)) {
        return write(&mut io::stdout().lock());
    }
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(there) if !there.is_file() => {
            let device = OpenOptions::new().write(true).open(path)?;
            write_buffered(&device, write)
        }
        // A symbolic link stays; what it points to is replaced.
        Ok(_) => replace(&fs::canonicalize(path)?, write),
        Err(_) => replace(path, write),
    }
}

fn replace(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let (unfinished, file) = create_beside(path)?;
    let finished = keep_permissions(path, &file)
        .and_then(|()| write_buffered(&file, write))
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::rename(&unfinished, path));
    if finished.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&unfinished);
    }
    finished
}

fn write_buffered(
    file: &File,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = BufWriter::new(file);
    write(&mut buffer)?;
    buffer.flush()
}

/// A new file in the same directory, so that renaming it stays within the file system. Its name
/// does not hold the other one's, which may be as long as a name can be.
fn create_beside(path: &Path) -> io::Result<(PathBuf, File)> {
    static SAVED: AtomicU64 = AtomicU64::new(0);
    let number = SAVED.fetch_add(1, Ordering::Relaxed);
    let name = format!(".alloctrace-{}-{number}.unfinished", std::process::id());
    let unfinished = path.with_file_name(name);
    // A leftover of a process that had the same id.
    let _ = fs::remove_file(&unfinished);
    let file = OpenOptions::new().write(true).create_new(true).open(&unfinished)?;
    Ok((unfinished, file))
}

fn keep_permissions(path: &Path, file: &File) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(old) => file.set_permissions(old.permissions()),
        Err(_) => Ok(()),
    }
}
