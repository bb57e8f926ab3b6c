//! User stacks of CPU samples. Code runs at any of its instructions, so that nearly every stack in
//! user mode is another one: of a long window a fair sample is kept.

use std::collections::HashMap;

use super::stacks::StackKey;

/// Stacks kept: a share of them is known to within 0.8 % (one standard deviation), and names for
/// them are found within seconds.
const MOST: usize = 4096;

/// At most [`MOST`] stacks, each of those seen with the same chance (Vitter's algorithm R).
#[derive(Clone, Debug)]
pub struct CpuStacks {
    kept: Vec<StackKey>,
    seen: u64,
    random: u64,
}

impl Default for CpuStacks {
    fn default() -> Self {
        Self { kept: Vec::new(), seen: 0, random: 0x9e37_79b9_7f4a_7c15 }
    }
}

impl CpuStacks {
    /// Takes the stack of a sample in.
    pub fn add(&mut self, stack: StackKey) {
        self.seen += 1;
        if self.kept.len() < MOST {
            self.kept.push(stack);
        } else if let Ok(place) = usize::try_from(self.next_random() % self.seen)
            && let Some(other) = self.kept.get_mut(place)
        {
            *other = stack;
        }
    }

    /// The different stacks that were kept, in no order, and how many samples each stands for.
    #[must_use]
    pub fn counts(&self) -> Vec<(StackKey, f64)> {
        let weight = self.seen as f64 / self.kept.len() as f64;
        let mut counts: HashMap<&StackKey, f64> = HashMap::new();
        for stack in &self.kept {
            *counts.entry(stack).or_default() += weight;
        }
        counts.into_iter().map(|(stack, count)| (stack.clone(), count)).collect()
    }

    /// Marsaglia's xorshift.
    fn next_random(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }
}

#[cfg(test)]
mod tests {
    use tracer_common::ProcessId;

    use super::*;
    use crate::aggregate::{cpu::CpuClass, stack_kind::StackKind};

    fn stack(address: u64) -> StackKey {
        let kind = StackKind::Cpu(CpuClass::User);
        StackKey { process: ProcessId::new(1, 1), program: 0, kind, frames: vec![address] }
    }

    #[test]
    fn a_short_window_is_kept_as_it_was() {
        let mut stacks = CpuStacks::default();
        assert_eq!(stacks.counts(), []);
        (0..30).for_each(|n| stacks.add(stack(n % 3)));
        let counts = stacks.counts();
        assert_eq!(counts.len(), 3);
        assert!(counts.iter().all(|(_, count)| (*count - 10.0).abs() < 1e-9), "{counts:?}");
    }

    #[test]
    fn a_long_window_keeps_its_shares() {
        const SAMPLES: u64 = 100 * MOST as u64;
        let mut stacks = CpuStacks::default();
        // The first three quarters are of one sort, and the last is of the other.
        (0..SAMPLES).for_each(|n| stacks.add(stack(u64::from(n >= SAMPLES / 4 * 3))));
        let counts = stacks.counts();
        let total: f64 = counts.iter().map(|(_, count)| count).sum();
        assert!((total - SAMPLES as f64).abs() < 1.0, "{total}");
        let late = counts.iter().find(|(key, _)| key.frames == [1]).expect("a quarter");
        let share = late.1 / total;
        // Five standard deviations.
        assert!((share - 0.25).abs() < 0.034, "{share}");
    }
}
