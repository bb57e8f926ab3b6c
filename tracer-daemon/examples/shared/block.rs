//! Blocks of memory straight from the kernel.

/// A new anonymous mapping, placed by the kernel.
#[inline(never)]
pub(crate) fn take_block(bytes: usize) -> *mut u8 {
    // SAFETY: replaces nothing.
    let block = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
            -1,
            0,
        )
    };
    assert_ne!(block, libc::MAP_FAILED, "mmap failed");
    block.cast()
}

/// Gives it back, with the size that it was taken with.
#[inline(never)]
pub(crate) fn give_block_back(block: *mut u8, bytes: usize) {
    // SAFETY: mapped by `take_block`, and not used after.
    let result = unsafe { libc::munmap(block.cast(), bytes) };
    assert_eq!(result, 0, "munmap failed");
}
