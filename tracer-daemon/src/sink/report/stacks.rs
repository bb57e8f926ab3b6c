use super::page::{Page, Tone};
use crate::aggregate::{
    snapshot::{Frame, Snapshot, StackTotals},
    stack_kind::{CPU, LOOKUP, MALLOC},
};
use crate::humanize::{bytes, count, seconds};

const STACKS_SHOWN: usize = 5;
const FRAMES_SHOWN: usize = 8;

/// The heaviest stacks of calls and faults. Those of other kinds are shown with what they are
/// samples of.
pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    let is_shown = |stack: &&StackTotals| ![CPU, LOOKUP, MALLOC].contains(&&*stack.kind);
    let stacks: Vec<_> = snapshot.stacks.iter().filter(is_shown).collect();
    if stacks.is_empty() {
        return;
    }
    page.heading("heaviest stacks (sampled; innermost first)");
    for stack in stacks.iter().take(STACKS_SHOWN) {
        page.prose(Tone::Plain, "  ", &title(stack));
        for frame in stack.frames.iter().take(FRAMES_SHOWN) {
            page.line(Tone::Dim, &format!("      {}", text(frame)));
        }
        let more = stack.frames.len().saturating_sub(FRAMES_SHOWN);
        if more > 0 {
            page.line(Tone::Dim, &format!("      and {more} more"));
        }
    }
    let more = stacks.len().saturating_sub(STACKS_SHOWN);
    if more > 0 {
        page.line(Tone::Dim, &format!("  and {more} more stacks"));
    }
}

fn title(stack: &StackTotals) -> String {
    let mut title = format!("{} × {}", count(stack.count), stack.kind);
    if stack.bytes > 0 {
        title.push_str(&format!(", {}", bytes(stack.bytes)));
    }
    if let Some(time) = stack.seconds {
        title.push_str(&format!(", {}", seconds(time)));
    }
    title
}

fn text(frame: &Frame) -> String {
    let symbol = frame.symbol.as_deref().unwrap_or("??");
    if let (Some(file), Some(line)) = (&frame.file, frame.line) {
        return format!("{symbol} at {}:{line}", base(file));
    }
    match &frame.module {
        Some(module) => format!("{symbol} ({}+0x{:x})", base(module), frame.offset),
        None => format!("{symbol} (0x{:x})", frame.offset),
    }
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
