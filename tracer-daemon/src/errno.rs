//! The names of the errors that the memory calls can give.

/// By number, as on every architecture that alloctrace runs on.
const NAMES: [(u32, &str); 14] = [
    (1, "EPERM"),
    (5, "EIO"),
    (9, "EBADF"),
    (11, "EAGAIN"),
    (12, "ENOMEM"),
    (13, "EACCES"),
    (14, "EFAULT"),
    (16, "EBUSY"),
    (17, "EEXIST"),
    (19, "ENODEV"),
    (22, "EINVAL"),
    (23, "ENFILE"),
    (26, "ETXTBSY"),
    (75, "EOVERFLOW"),
];

/// `ENOMEM`, or `errno 133` where the name is not known.
pub(crate) fn name(errno: u32) -> String {
    match NAMES.iter().find(|(number, _)| *number == errno) {
        Some((_, name)) => (*name).to_owned(),
        None => format!("errno {errno}"),
    }
}
