//! What a named user stack says: whether it is inside an allocator.

use super::snapshot::Frame;

/// Parts of the names of modules and symbols that give an allocator away.
pub const ALLOCATORS: [&str; 4] = ["jemalloc", "tcmalloc", "mimalloc", "hoard"];

/// Functions through which programs reach an allocator, without what libraries put before them.
const CALLS: [&str; 30] = [
    "malloc",
    "calloc",
    "realloc",
    "reallocarray",
    "free",
    "cfree",
    "memalign",
    "posix_memalign",
    "aligned_alloc",
    "valloc",
    "pvalloc",
    "malloc_trim",
    // musl's `malloc` ends in a jump to it.
    "malloc_impl",
    // jemalloc's own interface, jemalloc(3).
    "mallocx",
    "rallocx",
    "xallocx",
    "dallocx",
    "sdallocx",
    // What rustc calls, and what answers.
    "rust_alloc",
    "rust_alloc_zeroed",
    "rust_realloc",
    "rust_dealloc",
    "rdl_alloc",
    "rdl_alloc_zeroed",
    "rdl_realloc",
    "rdl_dealloc",
    "rg_alloc",
    "rg_alloc_zeroed",
    "rg_realloc",
    "rg_dealloc",
];

/// What libraries put before the names above, behind underscores: glibc, jemalloc, its Rust crate,
/// gperftools, mimalloc, rustc.
const DECORATIONS: [&str; 7] = ["libc_", "GI_", "je_", "rjem_", "tc_", "mi_", "rustc::"];

/// Paths of which every function is part of an allocator, or inlined on the way to one.
const PATHS: [&str; 8] = [
    "operator new",
    "operator delete",
    "alloc::alloc::",
    "alloc::raw_vec::",
    "std::alloc::",
    "std::sys::alloc::",
    "std::sys::pal::unix::alloc::",
    "tcmalloc::",
];

/// The same of C++'s library, where only these members are: `std::__new_allocator<T>::allocate`.
const NAMESPACES: [&str; 2] = ["std::", "__gnu_cxx::"];
const MEMBERS: [&str; 4] = ["allocate", "deallocate", "_M_allocate", "_M_deallocate"];

/// Where the libraries of C++ and Rust keep their functions.
const LIBRARIES: [&str; 5] = ["std::", "core::", "alloc::", "__gnu_cxx::", "__rustc::"];

/// Whether a function is an allocator's entry point, or a wrapper that does nothing but call one.
#[must_use]
pub fn is_allocation_call(symbol: &str) -> bool {
    let path = plain(symbol);
    let last = path.rsplit("::").next().unwrap_or_default();
    PATHS.iter().any(|part| path.starts_with(part))
        || NAMESPACES.iter().any(|space| path.starts_with(space)) && MEMBERS.contains(&last)
        || CALLS.contains(&undecorated(&path))
}

/// Whether a function is an entry point that gives a block another size.
#[must_use]
pub fn is_resizing_call(symbol: &str) -> bool {
    let path = plain(symbol);
    is_allocation_call(symbol) && (path.contains("realloc") || path.ends_with("rallocx"))
}

/// Whether a function belongs to a language's library: nobody cures anything there.
#[must_use]
pub fn is_standard_library(symbol: &str) -> bool {
    let path = plain(symbol);
    LIBRARIES.iter().any(|library| path.starts_with(library))
}

/// Whether a stack in user mode is inside an allocator: a library that is nothing else, or below an
/// entry point that leads to the innermost frame without leaving its module. (The functions
/// between them have no names in a stripped C library.)
#[must_use]
pub fn in_allocator(frames: &[Frame]) -> bool {
    let Some(module) = frames.first().and_then(|frame| frame.module.as_deref()) else {
        return false;
    };
    let file = module.rsplit('/').next().unwrap_or(module);
    let inside = frames.iter().take_while(|frame| frame.module.as_deref() == Some(module));
    ALLOCATORS.iter().any(|name| file.contains(name))
        || inside.filter_map(|frame| frame.symbol.as_deref()).any(is_allocation_call)
}

/// A function's name without arguments, and the type that holds it: `Vec::push`. Types are told by
/// their capital.
#[must_use]
pub fn short_name(symbol: &str) -> String {
    let path = plain(symbol);
    let parts: Vec<_> = path.split("::").filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [] => symbol.to_owned(),
        [.., holder, name] if holder.starts_with(char::is_uppercase) || name.starts_with('{') => {
            format!("{holder}::{name}")
        }
        [.., name] => (*name).to_owned(),
    }
}

/// A function's path without arguments of any sort, version and the compiler's marks:
/// `<A as B>::f` is `A::f`, and `int* a::b<c>::f(int)` is `a::b::f`.
fn plain(symbol: &str) -> String {
    let symbol = match symbol.strip_prefix('<').and_then(|rest| rest.split_once(" as ")) {
        Some((own, rest)) => {
            format!("{own}{}", rest.find(">::").map_or("", |at| &rest[at + 1..]))
        }
        None => symbol.to_owned(),
    };
    let mut path = String::new();
    let mut depth = 0_u32;
    for character in symbol.chars() {
        match character {
            '(' | '@' | '.' if depth == 0 => break,
            '<' | '[' => depth += 1,
            '>' | ']' => depth = depth.saturating_sub(1),
            ' ' if depth == 0 && path != "operator" => path.clear(),
            _ if depth == 0 => path.push(character),
            _ => {}
        }
    }
    path
}

fn undecorated(name: &str) -> &str {
    let bare = name.trim_start_matches('_');
    let rest = DECORATIONS.iter().find_map(|decoration| bare.strip_prefix(decoration));
    rest.map_or(bare, undecorated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entry_points_and_their_wrappers_are_known_by_name() {
        for symbol in [
            "malloc",
            "__libc_free",
            "__libc_malloc_impl",
            "__GI___libc_malloc",
            "realloc@@GLIBC_2.2.5",
            "_rjem_malloc",
            "mi_calloc",
            "operator new(unsigned long)",
            "operator delete[](void*)",
            "std::__new_allocator<std::pair<int const, int> >::allocate(unsigned long, void const*)",
            "std::allocator_traits<std::allocator<int> >::deallocate",
            "int* std::_Vector_base<int, std::allocator<int> >::_M_allocate(unsigned long)",
            "<alloc::alloc::Global as core::alloc::Allocator>::allocate",
            "__rustc[5a3c]::__rust_alloc",
            "__rust_dealloc",
            "alloc::raw_vec::RawVecInner<A>::finish_grow",
            "std::sys::alloc::unix::<impl core::alloc::global::GlobalAlloc for std::alloc::System>::alloc",
            "tcmalloc::CentralFreeList::Populate()",
        ] {
            assert!(is_allocation_call(symbol), "{symbol}: {}", plain(symbol));
        }
        for symbol in [
            "my_malloc_wrapper",
            "server::malloc",
            "free_list_walk",
            "myalloc::alloc::run",
            "alloc::vec::Vec<T,A>::push",
            "std::vector<int, std::allocator<int> >::push_back(int const&)",
            "<server::Pool as core::alloc::Allocator>::allocate",
            "operator<<(std::ostream&, int)",
            "",
            "<<<>> as ",
        ] {
            assert!(!is_allocation_call(symbol), "{symbol}: {}", plain(symbol));
        }
    }

    #[test]
    fn some_give_a_block_another_size() {
        for symbol in ["realloc@@GLIBC_2.2.5", "__rust_realloc", "je_rallocx", "reallocarray"] {
            assert!(is_resizing_call(symbol), "{symbol}");
        }
        for symbol in ["malloc", "free", "my_realloc_wrapper", "operator new(unsigned long)"] {
            assert!(!is_resizing_call(symbol), "{symbol}");
        }
    }

    #[test]
    fn libraries_are_known_by_their_namespaces() {
        for symbol in ["core::ptr::read_volatile", "<alloc::vec::Vec<T> as Drop>::drop"] {
            assert!(is_standard_library(symbol), "{symbol}");
        }
        for symbol in ["score::run", "<app::Iter as core::iter::Iterator>::next", "main"] {
            assert!(!is_standard_library(symbol), "{symbol}");
        }
    }

    #[test]
    fn short_names_tell_functions_apart() {
        for (symbol, short) in [
            ("spin(long)", "spin"),
            ("find_vma_hot::touch_afresh", "touch_afresh"),
            ("core::ptr::mut_ptr::<impl *mut T>::read_volatile", "read_volatile"),
            ("std::rt::lang_start::{{closure}}", "lang_start::{{closure}}"),
            ("alloc::vec::Vec<T,A>::push", "Vec::push"),
            ("operator new(unsigned long)", "operator new"),
            ("(anonymous namespace)::work()", "(anonymous namespace)::work()"),
        ] {
            assert_eq!(short_name(symbol), short);
        }
    }

    /// Module and symbol.
    fn stack(frames: &[(&str, Option<&str>)]) -> Vec<Frame> {
        let frame = |&(module, symbol): &(&str, Option<&str>)| Frame {
            module: Some(module.to_owned()),
            symbol: symbol.map(str::to_owned),
            ..Frame::default()
        };
        frames.iter().map(frame).collect()
    }

    #[test]
    fn below_an_entry_point_and_in_its_module_is_inside() {
        const LIBC: &str = "/lib/libc.so.6";
        const APP: &str = "/bin/app";
        let inside: [&[(&str, Option<&str>)]; 4] = [
            &[(LIBC, None), (LIBC, None), (LIBC, Some("malloc")), (APP, Some("serve"))],
            &[(LIBC, Some("__memset_avx2_unaligned")), (LIBC, Some("calloc"))],
            &[(APP, Some("je_arena_malloc_hard")), (APP, Some("_rjem_malloc"))],
            &[("/lib/libjemalloc.so.2", None), (APP, None)],
        ];
        for frames in inside {
            assert!(in_allocator(&stack(frames)), "{frames:?}");
        }
        let outside: [&[(&str, Option<&str>)]; 4] = [
            &[],
            &[(APP, Some("serve")), (LIBC, Some("malloc"))],
            &[(LIBC, Some("memcpy")), (APP, Some("malloc"))],
            &[(LIBC, None), (LIBC, Some("qsort")), (APP, Some("main"))],
        ];
        for frames in outside {
            assert!(!in_allocator(&stack(frames)), "{frames:?}");
        }
        let nowhere = Frame { symbol: Some("malloc".to_owned()), ..Frame::default() };
        assert!(!in_allocator(&[nowhere]), "of no known module");
    }
}
