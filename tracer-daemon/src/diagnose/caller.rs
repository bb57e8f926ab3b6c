//! Who asked the kernel for memory, or gave it back: an allocator, or the program itself.

use crate::aggregate::{
    snapshot::{Frame, Snapshot, StackTotals},
    user_path::{ALLOCATORS, is_allocation_call, is_standard_library},
};
use crate::humanize::shortened;

/// The code that made a system call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// glibc's `malloc`.
    Glibc,
    /// musl's `malloc`.
    Musl,
    /// An allocator of its own, by name.
    Allocator(&'static str),
    /// The C library on behalf of a new thread.
    ThreadStack,
    /// A program or library that makes the call itself.
    Direct,
    /// No stack tells.
    Unknown,
}

/// Functions of glibc's `malloc`, recognised in static executables.
const GLIBC_INTERNALS: [&str; 8] = [
    "sysmalloc",
    "sysmalloc_mmap",
    "_int_malloc",
    "__libc_malloc",
    "__glibc_morecore",
    "systrim",
    "_int_free",
    "heap_trim",
];

/// The C library's wrappers of system calls.
const WRAPPERS: [&str; 5] = ["mmap", "mmap64", "brk", "sbrk", "madvise"];

/// Characters of a symbol that a sentence can take.
const SYMBOL_IN_SENTENCE: usize = 60;

/// Who made the system call at the end of this stack.
pub(super) fn of_call(stack: &StackTotals) -> Caller {
    let Some(frame) = calling_frame(&stack.frames) else {
        return Caller::Unknown;
    };
    let symbol = frame.symbol.as_deref().unwrap_or_default();
    let module = file_name(frame);
    if let Some(name) =
        ALLOCATORS.into_iter().find(|name| module.contains(name) || symbol.contains(name))
    {
        return Caller::Allocator(name);
    }
    if is_c_library(module) {
        let thread = ["pthread_create", "allocate_stack"];
        return if thread.iter().any(|name| symbol.contains(name)) {
            Caller::ThreadStack
        } else if is_musl(module) {
            Caller::Musl
        } else {
            Caller::Glibc
        };
    }
    if is_glibc_internal(symbol) {
        return Caller::Glibc;
    }
    if frame.symbol.is_none() && frame.module.is_none() {
        return Caller::Unknown;
    }
    Caller::Direct
}

/// The heaviest stack of a kind.
pub(super) fn heaviest_stack<'a>(snapshot: &'a Snapshot, kind: &str) -> Option<&'a StackTotals> {
    let stacks = snapshot.stacks.iter().filter(|stack| stack.kind == kind);
    stacks.filter(|stack| !stack.frames.is_empty()).max_by_key(|stack| stack.count)
}

/// The first place outside of the C library, of any allocator and of the language's own library:
/// where a cure can be applied.
pub(super) fn call_site(stack: &StackTotals) -> Option<&Frame> {
    from_call_site(&stack.frames).first()
}

/// The same and its callers; none if there is no such place.
pub(crate) fn from_call_site(frames: &[Frame]) -> &[Frame] {
    let is_outside = |frame: &Frame| {
        let symbol = frame.symbol.as_deref().unwrap_or_default();
        let module = file_name(frame);
        !is_wrapper(frame)
            && !is_c_library(module)
            && !ALLOCATORS.iter().any(|name| module.contains(name))
            && !is_allocation_call(symbol)
            && !is_glibc_internal(symbol)
    };
    let is_own = |frame: &Frame| !frame.symbol.as_deref().is_some_and(is_standard_library);
    let own = frames.iter().position(|frame| is_outside(frame) && is_own(frame));
    let site = own.or_else(|| frames.iter().position(is_outside));
    site.map_or(&[], |at| &frames[at..])
}

/// A stack as text, a line for each frame.
pub(super) fn stack_text(stack: &StackTotals) -> Vec<String> {
    stack.frames.iter().map(frame_text).collect()
}

/// A frame as text: `symbol (module+0xoffset)`.
fn frame_text(frame: &Frame) -> String {
    let symbol = frame.symbol.as_deref().unwrap_or("??");
    let offset = frame.offset;
    match file_name(frame) {
        "" => format!("{symbol} (0x{offset:x})"),
        module => format!("{symbol} ({module}+0x{offset:x})"),
    }
}

/// The same within a sentence: generic functions can have names of a thousand characters.
pub(super) fn site_text(frame: &Frame) -> String {
    let symbol = frame.symbol.as_deref();
    frame_text(&Frame {
        symbol: symbol.map(|symbol| shortened(symbol, SYMBOL_IN_SENTENCE)),
        ..frame.clone()
    })
}

fn calling_frame(frames: &[Frame]) -> Option<&Frame> {
    match frames.first()?.symbol {
        Some(_) => frames.iter().find(|frame| !is_wrapper(frame)),
        // Without a name the innermost frame is taken for the system call's wrapper.
        None => frames.get(1),
    }
}

fn is_wrapper(frame: &Frame) -> bool {
    frame.symbol.as_deref().is_some_and(|symbol| {
        let bare = bare(symbol).trim_start_matches('_');
        WRAPPERS.contains(&bare.strip_prefix("GI_").unwrap_or(bare))
    })
}

fn is_glibc_internal(symbol: &str) -> bool {
    GLIBC_INTERNALS.contains(&bare(symbol))
}

/// A symbol without its version and the compiler's marks.
fn bare(symbol: &str) -> &str {
    symbol.split(['@', '.']).next().unwrap_or(symbol)
}

fn file_name(frame: &Frame) -> &str {
    let module = frame.module.as_deref().unwrap_or_default();
    module.rsplit('/').next().unwrap_or(module)
}

fn is_c_library(file: &str) -> bool {
    file.starts_with("libc.so") || file.starts_with("libc-") || is_musl(file)
}

/// musl has no version behind `libc.so`; its loader is its library.
fn is_musl(file: &str) -> bool {
    file == "libc.so" || file.starts_with("ld-musl") || file.starts_with("libc.musl-")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Symbol and module.
    type Named = (Option<&'static str>, &'static str);

    fn stack(frames: &[Named]) -> StackTotals {
        let frames = frames.iter().map(|(symbol, module)| Frame {
            symbol: symbol.map(str::to_owned),
            module: (!module.is_empty()).then(|| (*module).to_owned()),
            offset: 0x10,
            ..Frame::default()
        });
        StackTotals { frames: frames.collect(), ..StackTotals::default() }
    }

    #[test]
    fn the_caller_is_the_one_behind_the_wrappers() {
        const LIBC: &str = "/usr/lib/libc.so.6";
        let table: &[(&[Named], Caller)] = &[
            (&[(Some("mmap64"), LIBC), (None, LIBC), (Some("serve"), "/bin/app")], Caller::Glibc),
            (&[(Some("__mmap"), "/a"), (Some("sysmalloc_mmap.isra.0"), "/a")], Caller::Glibc),
            (&[(Some("mmap"), "/lib/libc-2.31.so"), (Some("serve"), "/bin/app")], Caller::Direct),
            (&[(Some("brk"), LIBC), (Some("sbrk"), LIBC), (None, LIBC)], Caller::Glibc),
            (&[(Some("__brk"), "/a"), (Some("__sbrk"), "/a"), (Some("f"), "/a")], Caller::Direct),
            (&[(Some("brk"), "/a"), (Some("systrim.constprop.0"), "/a")], Caller::Glibc),
            (&[(None, LIBC), (None, LIBC)], Caller::Glibc),
            (&[(None, LIBC), (None, "/bin/app")], Caller::Direct),
            (&[(None, LIBC), (None, "")], Caller::Unknown),
            (
                &[
                    (Some("mmap"), "/lib/ld-musl-x86_64.so.1"),
                    (Some("alloc_group"), "/lib/ld-musl-x86_64.so.1"),
                ],
                Caller::Musl,
            ),
            (
                &[(Some("mmap"), LIBC), (Some("os_pages_map"), "/usr/lib/libjemalloc.so.2")],
                Caller::Allocator("jemalloc"),
            ),
            (
                &[(Some("mmap"), LIBC), (Some("pthread_create@@GLIBC_2.34"), LIBC)],
                Caller::ThreadStack,
            ),
            (&[(Some("mmap"), LIBC)], Caller::Unknown),
            (&[], Caller::Unknown),
        ];
        for (frames, caller) in table {
            assert_eq!(of_call(&stack(frames)), *caller, "{frames:?}");
        }
    }

    #[test]
    fn the_call_site_is_in_the_program() {
        let request = stack(&[
            (Some("mmap64"), "/l/libc.so.6"),
            (None, "/l/libc.so.6"),
            (Some("operator new(unsigned long)"), "/l/libstdc++.so.6"),
            (Some("handle_request"), "/opt/app/server"),
        ]);
        let site = call_site(&request).map(frame_text);
        assert_eq!(site.as_deref(), Some("handle_request (server+0x10)"));
        let library = (Some("core::ptr::read_volatile"), "/opt/app/server");
        let site = |frames: &[Named]| call_site(&stack(frames)).map(frame_text);
        let inlined = site(&[library, (Some("touch"), "/opt/app/server")]);
        assert_eq!(inlined.as_deref(), Some("touch (server+0x10)"));
        let alone = site(&[library]);
        assert_eq!(alone.as_deref(), Some("core::ptr::read_volatile (server+0x10)"));
    }
}
