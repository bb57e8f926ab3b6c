//! Records from a file instead of from the kernel: each with its length before it, in
//! little-endian order, as `--dump` writes them.

use std::io::{self, Write};

/// Writes a record behind those before it.
///
/// # Errors
/// Those of the file; `InvalidInput` for a record of 4 GiB.
pub fn append(file: &mut impl Write, record: &[u8]) -> io::Result<()> {
    let length = u32::try_from(record.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    file.write_all(&length.to_le_bytes())?;
    file.write_all(record)
}

/// The records of a dump, oldest first, up to where it is cut off or damaged.
pub fn records(mut dump: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = dump.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        let (record, rest) = rest.split_at_checked(length)?;
        dump = rest;
        Some(record)
    })
}
