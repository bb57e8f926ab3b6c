use super::{
    allocation_sites::asking,
    page::{Page, Tone},
    sites,
};
use crate::{
    aggregate::{
        snapshot::{Resizes, SiteResizes, Snapshot},
        stack_kind::MALLOC,
    },
    humanize::{bytes, count, percent, seconds},
};

const SITES_SHOWN: usize = 10;

/// What became of the blocks that were to have another size.
pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    let resizes = snapshot.allocations.as_ref().and_then(|all| all.resizes.as_ref());
    let Some(resizes) = resizes.filter(|all| all.resized() > 0) else { return };
    let time = seconds(resizes.seconds);
    page.heading(&format!("blocks that got another size by realloc (counted for {time})"));
    page.prose(Tone::Plain, "  ", &fate(resizes));
    page.prose(Tone::Plain, "  ", &copied(resizes));
    by_site(page, snapshot);
}

fn fate(all: &Resizes) -> String {
    let share = |calls: u64| percent(calls as f64 / all.resized() as f64);
    let mut text = format!(
        "{} calls: {} moved and copied the block, {} left it where it was, {} moved its pages without a copy",
        count(all.resized()),
        share(all.moved),
        share(all.in_place),
        share(all.remapped)
    );
    let others = [
        (all.fresh, "had no block before"),
        (all.freed, "asked for no bytes"),
        (all.failed, "got no memory"),
    ];
    for (calls, what) in others.into_iter().filter(|(calls, _)| *calls > 0) {
        text.push_str(&format!("; {} more {what}", count(calls)));
    }
    text
}

fn copied(all: &Resizes) -> String {
    let most = bytes(all.unsized_bytes);
    let Some((copied, grown)) = all.copied_bytes.zip(all.grown_bytes) else {
        return if all.moved == 0 {
            "nothing was copied".to_owned()
        } else {
            format!(
                "how much was copied is unknown, {most} at most: this allocator's blocks do not tell their size"
            )
        };
    };
    let mut text =
        format!("copied {}, for blocks that became larger by {}", bytes(copied), bytes(grown));
    if all.unsized_moves > 0 {
        let moves = count(all.unsized_moves);
        text.push_str(&format!("; of {moves} more the size could not be read, {most} at most"));
    }
    text
}

/// The code that copies most.
fn by_site(page: &mut Page, snapshot: &Snapshot) {
    let stacks = snapshot.stacks.iter().filter(|stack| stack.kind == MALLOC);
    let known: Vec<_> =
        stacks.filter_map(|stack| Some((asking(&stack.frames), stack.resizes?))).collect();
    let heaviest = |of: fn(&SiteResizes) -> u64| {
        sites::heaviest(known.iter().map(|(site, sums)| (*site, of(sums) as f64)))
    };
    let copied = heaviest(|sums| sums.copied_bytes);
    let grown = heaviest(|sums| sums.grown_bytes);
    if copied.iter().all(|(_, bytes)| *bytes <= 0.0) {
        return;
    }
    page.line(Tone::Dim, &row("copied", "to grow by", "function ← its caller ← … (estimated)"));
    for (site, weight) in copied.iter().filter(|(_, bytes)| *bytes > 0.0).take(SITES_SHOWN) {
        let grown = grown.iter().find(|(name, _)| name == site).map_or(0.0, |(_, bytes)| *bytes);
        page.line(Tone::Plain, &row(&bytes(*weight as u64), &bytes(grown as u64), site));
    }
}

fn row(copied: &str, grown: &str, site: &str) -> String {
    format!("  {copied:>10} {grown:>10}  {site}")
}
