use tracer_common::Loss;

use super::page::{Page, Tone};
use crate::aggregate::snapshot::{ProbeStatus, Snapshot, unmeasured};
use crate::humanize::{count, percent, seconds, shortened};

/// Characters of a signal's name; recordings may hold any.
const SIGNAL_NAME: usize = 30;

/// What is not in the numbers, and what measuring cost.
pub(super) fn write(page: &mut Page, snapshot: &Snapshot) {
    let lost: Vec<_> = snapshot.lost.iter().filter(|(_, n)| **n > 0).collect();
    if !lost.is_empty() {
        page.heading("what is missing");
        for (cause, number) in lost {
            let text = format!("{}: {}", count(*number), explained(cause));
            page.prose(Tone::Warning, "  ", &text);
        }
    }
    probes(page, &snapshot.tracer.probes);
    page.heading("tracing");
    let cost = match &snapshot.overhead {
        None => "its cost is unknown".to_owned(),
        Some(overhead) => {
            let share = overhead.share_of_target.map_or(String::new(), |share| {
                format!(", {} of the target's CPU time", percent(share))
            });
            format!("cost {}{share}", seconds(overhead.seconds))
        }
    };
    let tracer = &snapshot.tracer;
    let by = format!("{cost} (alloctrace {} on Linux {})", tracer.version, tracer.kernel);
    page.prose(Tone::Plain, "  ", &by);
}

/// What is not measured. Which rung carries what is `doctor`'s to say.
fn probes(page: &mut Page, probes: &[ProbeStatus]) {
    let missing = unmeasured(probes);
    if missing.is_empty() {
        return;
    }
    page.heading("not measured");
    for (names, reason) in missing {
        let names: Vec<_> = names.into_iter().map(|name| shortened(name, SIGNAL_NAME)).collect();
        let reason = reason.unwrap_or("unknown why");
        page.prose(Tone::Warning, "  ", &format!("{}: {reason}", names.join(", ")));
    }
}

fn explained(cause: &str) -> String {
    let known = Loss::ALL.into_iter().find(|loss| loss.name() == cause);
    let words = match known {
        Some(Loss::MappingRecords) => {
            "mappings' records were dropped, the ring buffer was full; cycles, sizes, lifetimes \
             and stacks are lower bounds, the counts of calls are exact"
        }
        Some(Loss::FaultRecords) => {
            "fault samples were dropped, the ring buffer was full; shares of faults and their \
             stacks rest on fewer samples, the counts of faults are exact"
        }
        Some(Loss::CpuRecords) => {
            "CPU samples were dropped, the ring buffer was full; the shares of CPU time rest on \
             fewer samples"
        }
        Some(Loss::LifecycleRecords) => {
            "forks, execs or exits were not noted, the ring buffer was full; children may be \
             missing"
        }
        Some(Loss::ThreadTable) => {
            "calls or faults could not be followed, too many threads at once; counts and times \
             are lower bounds"
        }
        Some(Loss::CounterTable) => {
            "calls were not counted, the table of counters was full; counts and times are lower \
             bounds"
        }
        Some(Loss::ProcessTable) => {
            "ends or children of processes were not noted, the table was full; faults and CPU \
             time are lower bounds"
        }
        Some(Loss::MissedReturn) => {
            "of these calls only the entry or the return was seen; failures, bytes and times are lower \
             bounds"
        }
        Some(Loss::LookupRecords) => {
            "samples of look-ups were dropped, the ring buffer was full; why they were made rests \
             on fewer samples, their counts are exact"
        }
        Some(Loss::StackRecords) => {
            "stacks were left out, the ring buffer was filling; the stacks rest on fewer samples, \
             the counts are exact"
        }
        Some(Loss::UnknownPlaces) => {
            "calls of the allocator were not counted, the process had executed another program; the \
             counts of its calls are lower bounds"
        }
        Some(Loss::AllocationRecords) => {
            "samples of the allocator's calls were dropped, the ring buffer was filling; which code asks \
             for memory rests on fewer samples, the counts of calls are exact"
        }
        Some(Loss::BlockRecords) => {
            "births or ends of sampled blocks were dropped, the ring buffer was full; blocks that were \
             given back may count as outstanding"
        }
        Some(Loss::BlockTable) => {
            "sampled blocks were not followed, there were too many at once; what is outstanding and what \
             was freed are lower bounds"
        }
        Some(Loss::MissedEnd) => {
            "sampled blocks were given back unseen; when is unknown, and others may count as outstanding"
        }
        None if cause == "stack_queue" => {
            "stacks were not unwound, too many came at once or one took too long; the stacks rest \
              on fewer samples, the counts are exact"
        }
        None if cause == "followed_blocks" => {
            "sampled blocks were not followed, the tracer had too many; what is outstanding and what was \
             freed are lower bounds"
        }
        None => return format!("{cause}; the totals are lower bounds"),
    };
    words.to_owned()
}
