//! Named stacks of CPU samples: those that differ within a function only are one, and those in user
//! mode are found to be inside an allocator or not.

use std::collections::HashMap;

use super::{
    cpu::{ALLOCATOR, CpuClass},
    snapshot::{Frame, StackTotals},
    user_path::in_allocator,
};

/// Named stacks of CPU samples.
#[derive(Clone, Debug, Default)]
pub struct CpuSites {
    /// By class and frames; the innermost place is left out of the key.
    sums: HashMap<(Option<String>, Vec<Frame>), (StackTotals, f64)>,
    user: f64,
    in_allocator: f64,
}

impl CpuSites {
    /// A stack that stands for `samples`.
    pub fn add(&mut self, mut stack: StackTotals, samples: f64) {
        if stack.place.as_deref() == Some(CpuClass::User.name()) {
            self.user += samples;
            if in_allocator(&stack.frames) {
                self.in_allocator += samples;
                stack.place = Some(ALLOCATOR.to_owned());
            }
        }
        let key = (stack.place.clone(), without_innermost_place(&stack.frames));
        self.sums.entry(key).or_insert((stack, 0.0)).1 += samples;
    }

    /// The part of the samples in user mode that are inside an allocator; `None`: no stack tells.
    #[must_use]
    pub fn in_allocator(&self) -> Option<f64> {
        (self.user > 0.0).then(|| self.in_allocator / self.user)
    }

    /// The `most` heaviest, heaviest first. The innermost place of each is that of one of its
    /// samples. A sample stands for `sample_seconds` of CPU time.
    #[must_use]
    pub fn heaviest(self, most: usize, sample_seconds: Option<f64>) -> Vec<StackTotals> {
        let mut all: Vec<_> = self.sums.into_values().collect();
        all.sort_by(|(a, x), (b, y)| y.total_cmp(x).then_with(|| a.place.cmp(&b.place)));
        all.truncate(most);
        all.into_iter()
            .map(|(stack, samples)| StackTotals {
                count: samples.round() as u64,
                seconds: sample_seconds.map(|seconds| seconds * samples),
                ..stack
            })
            .collect()
    }
}

/// Inlined functions have frames of their own at the same place.
fn without_innermost_place(frames: &[Frame]) -> Vec<Frame> {
    let mut frames = frames.to_vec();
    let Some(place) = frames.first().map(|frame| (frame.module.clone(), frame.offset)) else {
        return frames;
    };
    for frame in
        frames.iter_mut().take_while(|frame| (&frame.module, frame.offset) == (&place.0, place.1))
    {
        (frame.offset, frame.line) = (0, None);
    }
    frames
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(place: &str, frames: &[(&str, u64)]) -> StackTotals {
        let frame = |&(symbol, offset): &(&str, u64)| Frame {
            symbol: Some(symbol.to_owned()),
            module: Some("/bin/app".to_owned()),
            offset,
            ..Frame::default()
        };
        StackTotals {
            kind: "cpu".to_owned(),
            place: Some(place.to_owned()),
            frames: frames.iter().map(frame).collect(),
            ..StackTotals::default()
        }
    }

    #[test]
    fn instructions_of_a_function_are_one_and_call_sites_are_not() {
        let mut sites = CpuSites::default();
        assert_eq!(sites.in_allocator(), None);
        sites.add(stack("user", &[("inlined", 16), ("work", 16), ("main", 99)]), 2.0);
        sites.add(stack("user", &[("inlined", 20), ("work", 20), ("main", 99)]), 3.0);
        sites.add(stack("user", &[("inlined", 20), ("work", 20), ("main", 70)]), 1.0);
        sites.add(stack("user", &[("free", 7), ("main", 70)]), 2.0);
        sites.add(stack("unmap", &[("free", 7), ("main", 70)]), 10.0);
        assert_eq!(sites.in_allocator(), Some(0.25));
        let heaviest = sites.heaviest(3, Some(0.5));
        let rows: Vec<_> = heaviest
            .iter()
            .map(|stack| (stack.place.as_deref().unwrap_or_default(), stack.count, stack.seconds))
            .collect();
        let truth = [("unmap", 10, Some(5.0)), ("user", 5, Some(2.5)), (ALLOCATOR, 2, Some(1.0))];
        assert_eq!(rows, truth);
    }
}
