//! `find-vma-hot`: the kernel spends the target's time looking for areas.
//!
//! The share comes from the samples of the CPU clock, the number of look-ups from exact counts, and
//! why they are made from samples of the look-ups.

use super::{
    Cause, Cost, Finding, Saving, Severity,
    area_index::AreaIndex,
    caller, estimate,
    hot_spot::{self, HotSpot},
    worth,
};
use crate::aggregate::snapshot::{LookupTotals, Snapshot, StackTotals};
use crate::aggregate::{cpu::SAMPLES_PER_SECOND, kernel_path::LOOK_UP};
use crate::humanize::{count, number, percent, shortened};

const ID: &str = "find-vma-hot";

/// Below this share of the target's CPU time they are not worth a word.
const NOTABLE: f64 = 0.10;

/// A program with few areas that does nothing but fault has this much look-up for each second of
/// other work (measured with `examples/find_vma_hot.rs --cured`: 4 to 5 %).
const ORDINARY: f64 = 0.045;

/// From here on the areas themselves make look-ups long: their tree is in no cache.
const MANY_AREAS: u64 = 5_000;

/// A search for room is `hole-search`'s.
const HOLE_SEARCH: &str = "vm_unmapped_area";

/// Characters of a kernel's release in a sentence.
const RELEASE: usize = 40;

/// What there is to be known of the look-ups.
struct Look<'a> {
    share: f64,
    cpu_seconds: f64,
    calls: u64,
    /// What most of them were made for, and its share; nothing where no probe tells.
    why: Option<(&'a str, f64)>,
    /// How many areas there are, if they are many.
    areas: Option<u64>,
    window: f64,
}

/// Looks for look-ups that take a notable part of the target's time.
#[must_use]
pub fn find_vma_hot(snapshot: &Snapshot) -> Option<Finding> {
    let look = Look::at(snapshot)?;
    let spot = hot_spot(snapshot);
    let stack = spot.as_ref().map(|spot| spot.stack).or_else(|| look.stack(snapshot));
    let site = stack.and_then(caller::call_site).map(caller::site_text);
    let per_second = look.share * look.cpu_seconds / look.window;
    let severity = worth::severity(per_second, Some(look.share));
    let gain = severity != Severity::NoGain;
    Some(Finding {
        id: ID.to_owned(),
        severity,
        summary: summary(&look, gain),
        evidence: evidence(&look, snapshot, spot.as_ref()),
        cause: Cause {
            text: cause(&look, site.as_deref()),
            bytes: None,
            stack: stack.map_or_else(Vec::new, caller::stack_text),
        },
        cost: Cost {
            cpu_seconds_per_second: per_second,
            share_of_target: Some(look.share),
            ..Cost::default()
        },
        remedy: if gain { remedies(&look, site.as_deref()) } else { Vec::new() },
        predicted_saving: gain.then(|| look.saving()),
        confidence: if look.why.is_some() { 0.8 } else { 0.6 },
    })
}

impl<'a> Look<'a> {
    fn at(snapshot: &'a Snapshot) -> Option<Self> {
        let sampled = snapshot.cpu_samples.iter().find(|sample| sample.place == LOOK_UP);
        let share = sampled.map(|sample| sample.share).filter(|share| *share >= NOTABLE)?;
        let cpu_seconds = snapshot.cpu.seconds()?;
        let own = || snapshot.lookups.iter().filter(|(name, _)| *name != HOLE_SEARCH);
        let busiest = own().map(|(_, totals)| totals).max_by_key(|totals| totals.calls);
        let plausible = cpu_seconds > 0.0 && snapshot.window.seconds > 0.0 && share <= 1.0;
        // A program that runs for a moment has so few samples that one of them is a tenth.
        let seen = estimate::share_of_sum(1.0, share, samples(share, cpu_seconds));
        let is_beyond_chance = seen.value - seen.error > ORDINARY;
        (plausible && is_beyond_chance).then(|| Self {
            share,
            cpu_seconds,
            calls: own().map(|(_, totals)| totals.calls).sum(),
            why: busiest.and_then(most_frequent),
            areas: snapshot
                .address_space
                .as_ref()
                .map(|space| space.areas)
                .filter(|n| *n >= MANY_AREAS),
            window: snapshot.window.seconds,
        })
    }

    /// Where no look-up has a stack: the heaviest of what they are made for.
    fn stack(&self, snapshot: &'a Snapshot) -> Option<&'a StackTotals> {
        let (why, _) = self.why?;
        caller::heaviest_stack(snapshot, why)
    }

    /// With few areas the look-ups are as short as any program's. Without what they are made for,
    /// its part of them is not made.
    fn saving(&self) -> Saving {
        let part = match (self.areas, self.why) {
            (Some(_), _) => 1.0 - (ORDINARY * (1.0 - self.share) / self.share).min(1.0),
            (None, why) => why.map_or(1.0, |(_, share)| share),
        };
        let total = self.cpu_seconds * part / self.window;
        let samples = samples(self.share, self.cpu_seconds);
        let saved = estimate::share_of_sum(total, self.share, samples);
        Saving {
            cpu_seconds_per_second: saved.value,
            low: saved.value - saved.error,
            high: saved.value + saved.error,
            ..Saving::default()
        }
    }
}

/// Samples of the clock in this share of the CPU time, and in all of it.
fn samples(share: f64, cpu_seconds: f64) -> (u64, u64) {
    let all = cpu_seconds * SAMPLES_PER_SECOND as f64;
    ((share * all) as u64, all as u64)
}

/// Where the look-ups come from: by their time, else by their number.
fn hot_spot(snapshot: &Snapshot) -> Option<HotSpot<'_>> {
    hot_spot::at(snapshot, "cpu", |class| class == LOOK_UP)
        .or_else(|| hot_spot::at(snapshot, "lookup", |function| function != HOLE_SEARCH))
}

fn most_frequent(totals: &LookupTotals) -> Option<(&str, f64)> {
    let heaviest = totals.why.iter().max_by(|a, b| a.1.total_cmp(b.1))?;
    Some((heaviest.0.as_str(), *heaviest.1))
}

fn summary(look: &Look<'_>, gain: bool) -> String {
    let share = percent(look.share);
    if gain {
        format!(
            "looking for areas (find_vma and its successors) takes {share} of the target's CPU time"
        )
    } else {
        format!("looking for areas takes {share} of the target's CPU time: too little to cure")
    }
}

fn evidence(look: &Look<'_>, snapshot: &Snapshot, spot: Option<&HotSpot<'_>>) -> Vec<String> {
    let mut lines =
        vec![format!("{} of the CPU samples are inside a look-up", percent(look.share))];
    let measured = snapshot.lookups.iter().filter(|(name, _)| *name != HOLE_SEARCH);
    for (name, totals) in measured.filter(|(_, totals)| totals.calls > 0) {
        let share = totals.share.map_or(String::new(), |share| format!(", {}", percent(share)));
        let rate = number(totals.calls as f64 / look.window);
        lines.push(format!("{name}: {} calls, {rate}/s{share}", count(totals.calls)));
    }
    if look.calls == 0 {
        lines.push("how many they are is unknown: this kernel lets no probe on them".to_owned());
    }
    if let Some(areas) = look.areas {
        let kernel = shortened(&snapshot.tracer.kernel, RELEASE);
        let index = AreaIndex::of(&kernel);
        lines.push(format!("{} areas; Linux {kernel} {}", count(areas), index.look_up()));
    }
    if let Some((why, share)) = look.why {
        lines.push(format!("{} of them are made for: {why}", percent(share)));
    }
    if let Some(spot) = spot {
        lines.push(format!(
            "{} of the sampled look-ups have the call site of the cause",
            percent(spot.share)
        ));
    }
    lines
}

fn cause(look: &Look<'_>, site: Option<&str>) -> String {
    let place = site.map_or(String::new(), |site| format!(", most of it in {site}"));
    if let Some(areas) = look.areas {
        let who = look.why.map_or("calls and faults", |(why, _)| why);
        return format!(
            "{} areas: the tree in which they are looked up is deep and in no cache; looked up for: \
             {who}{place}",
            count(areas)
        );
    }
    match look.why {
        Some(("fault", _)) => format!("page faults, each of which looks its area up{place}"),
        Some(("other", _)) | None if site.is_some() => {
            format!("calls and faults that take or touch memory{place}")
        }
        Some(("other", _)) | None => {
            "calls and faults that take or touch memory; which ones is not known".to_owned()
        }
        Some((call, _)) => format!("{call}, which looks areas up to change them{place}"),
    }
}

fn remedies(look: &Look<'_>, site: Option<&str>) -> Vec<String> {
    let place = site.map_or(String::new(), |site| format!(" in {site}"));
    let fewer_areas = "fewer areas make each look-up shorter: one large mapping with fixed-size \
                       pieces instead of many, MALLOC_ARENA_MAX for fewer arenas; alloctrace vmas \
                       shows which areas there are"
        .to_owned();
    match look.why {
        _ if look.areas.is_some() => vec![
            fewer_areas,
            "what splits areas is in the same census: single pages with another protection \
             (mprotect), pieces given back in the middle (munmap), advice on parts (madvise)"
                .to_owned(),
        ],
        Some(("fault", _)) => vec![
            format!("touch fewer new pages{place}: keep memory instead of giving it back"),
            "or make a fault bring in more: huge pages (madvise(MADV_HUGEPAGE)), MAP_POPULATE, \
             madvise(MADV_POPULATE_WRITE)"
                .to_owned(),
            fewer_areas,
        ],
        Some((call, _)) if call != "other" => {
            vec![format!("make fewer {call} calls{place}: keep and reuse"), fewer_areas]
        }
        _ => vec![fewer_areas],
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::aggregate::snapshot::{Cpu, CpuShare, Window};
    use crate::census::address_space::AddressSpace;

    fn snapshot(share: f64) -> Snapshot {
        let why = BTreeMap::from([("fault".to_owned(), 0.9), ("mmap".to_owned(), 0.1)]);
        let totals = LookupTotals { calls: 1_000_000, why, ..LookupTotals::default() };
        Snapshot {
            window: Window { seconds: 10.0, complete: true, ..Window::default() },
            cpu: Cpu { user_seconds: Some(2.0), system_seconds: Some(8.0), ..Cpu::default() },
            cpu_samples: vec![CpuShare { place: LOOK_UP.to_owned(), share }],
            lookups: BTreeMap::from([("find_vma".to_owned(), totals)]),
            ..Snapshot::default()
        }
    }

    #[test]
    fn a_hot_look_up_is_found_with_its_reason() {
        let finding = find_vma_hot(&snapshot(0.2356)).expect("a quarter of the CPU");
        assert_eq!(finding.severity, Severity::High);
        assert!(finding.cause.text.contains("page faults"), "{}", finding.cause.text);
        let saving = finding.predicted_saving.expect("a gain");
        assert!((saving.cpu_seconds_per_second - 0.2356 * 0.9).abs() < 1e-9);
        assert!(saving.low < saving.cpu_seconds_per_second && saving.low > 0.1);
    }

    #[test]
    fn with_many_areas_they_are_the_cause_and_what_is_ordinary_stays() {
        let mut many = snapshot(0.24);
        many.address_space = Some(AddressSpace { areas: 60_000, ..AddressSpace::default() });
        many.tracer.kernel = "6.12.1-cloud-amd64".to_owned();
        let finding = find_vma_hot(&many).expect("a quarter of the CPU");
        assert!(finding.cause.text.starts_with("60,000 areas"), "{}", finding.cause.text);
        assert!(finding.evidence.iter().any(|line| line.contains("maple tree")));
        let saving = finding.predicted_saving.expect("a gain").cpu_seconds_per_second;
        assert!((saving - (0.24 - 0.045 * 0.76)).abs() < 1e-9, "{saving}");
    }

    #[test]
    fn an_idle_program_gains_nothing_and_little_is_nothing() {
        let mut idle = snapshot(0.3);
        idle.window.seconds = 40.0;
        idle.cpu = Cpu { user_seconds: Some(0.1), system_seconds: Some(0.3), ..Cpu::default() };
        let finding = find_vma_hot(&idle).expect("worth a word");
        assert_eq!((finding.severity, finding.predicted_saving), (Severity::NoGain, None));
        assert_eq!(find_vma_hot(&snapshot(0.09)), None);
        let mut short = snapshot(1.0 / 7.0);
        short.cpu = Cpu { user_seconds: Some(0.03), system_seconds: Some(0.04), ..Cpu::default() };
        assert_eq!(find_vma_hot(&short), None, "one of seven samples");
        assert_eq!(find_vma_hot(&Snapshot::default()), None);
        assert_eq!(find_vma_hot(&snapshot(f64::NAN)), None);
    }
}
