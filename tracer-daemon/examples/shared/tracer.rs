//! How a workload and whoever traces it wait for each other.

use std::io::Read;

/// Before the work. With huge pages a touch of one page would bring in all of them.
pub(crate) fn begin() {
    // SAFETY: takes no pointers.
    unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) };
    println!("pid {}", std::process::id());
}

/// With `--wait`: the tracer is ready when a line comes in.
pub(crate) fn wait_if(asked_to: bool) {
    if asked_to {
        let _ = std::io::stdin().read(&mut [0; 64]);
    }
}
