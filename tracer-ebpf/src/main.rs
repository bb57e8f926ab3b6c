//! alloctrace's kernel programs. They count per CPU, and for targets they write records; nothing
//! here decides what a number means.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod emit;
mod filter;
mod inflight;
mod kernel;
mod maps;
mod probes;
mod stack;

#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // The verifier refuses a program in which this could be reached.
    loop {}
}

// `bpf_probe_read_kernel`, `bpf_probe_read_user` and others are for GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
