//! Who called whom, from registers, a copy of the stack and the unwind tables of the programs: pure,
//! bounded, and suspicious, for all three were written by somebody else.
//!
//! The tables are interpreted with gimli, which blazesym brings along. framehop would do more of the
//! work, but runs DWARF expressions without a limit (one that jumps back to itself never ends),
//! knows neither those that read memory nor signal frames, and restores three registers only.

mod copy;
mod expression;
mod frame;
mod image;
mod library;
mod registers;
mod tables;
mod walk;

pub use copy::StackCopy;
pub use image::Image;
pub use library::{Library, Vdso};
pub use walk::{MOST_FRAMES, by_frame_pointers};

#[cfg(test)]
mod handmade_tests;
#[cfg(test)]
mod tests;
