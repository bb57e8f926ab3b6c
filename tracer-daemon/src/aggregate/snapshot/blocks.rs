//! What became of the blocks that the allocator handed out.

use serde::{Deserialize, Serialize};

/// The blocks of sampled calls, each followed to its end. What became of them is
/// estimated: a block stands for others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct FollowedBlocks {
    /// For how long, from the beginning of the window.
    pub seconds: f64,
    /// How many were followed.
    pub samples: u64,
    /// What became of them.
    #[serde(flatten)]
    pub totals: BlockTotals,
    /// Blocks that were handed out meanwhile, by all functions; counted.
    pub handed_out: u64,
    /// Blocks that were given back meanwhile, old and new; counted.
    pub given_back: u64,
    /// Functions whose blocks are not followed, for their results cannot all be seen.
    pub untold: Vec<String>,
}

impl FollowedBlocks {
    /// Blocks that were given back and had been handed out before the window, as far as that is certain.
    #[must_use]
    pub fn freed_from_before(&self) -> u64 {
        let parts = self.totals.growth.as_ref().map_or(&[][..], |growth| &growth.parts);
        let sum = |of: fn(&GrowthPart) -> f64| parts.iter().map(of).sum::<f64>();
        let (there, bytes) = (sum(|part| part.blocks), sum(|part| part.bytes));
        let error = sum(|part| part.error * part.error).sqrt() / bytes.max(1.0) * there;
        // Of what was handed out all that is not there was given back; what else was is older. There may be
        // more, of functions whose results are not seen.
        let older = there + self.given_back as f64 - self.handed_out as f64;
        (older - 2.0 * error.abs()).max(0.0) as u64
    }
}

/// What became of blocks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockTotals {
    /// Given back.
    pub freed: BlockSum,
    /// Not given back when the window ended; unknown where following had to end before.
    pub outstanding: Option<BlockSum>,
    /// Their end was missed, or may have been.
    pub unknown: BlockSum,
    /// Those that were given back by how long they lived, in powers of two, shortest first.
    pub lifetimes: Vec<LifetimeBlocks>,
    /// How the bytes outstanding changed while blocks were followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub growth: Option<Growth>,
}

/// Some blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockSum {
    /// How many.
    pub blocks: u64,
    /// Bytes that were asked for.
    pub bytes: u64,
}

/// Blocks of a class of lifetimes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LifetimeBlocks {
    /// The end of the class; it begins at half of it.
    pub seconds: f64,
    /// How many blocks.
    pub blocks: u64,
}

/// What came less what went, in parts of the time that are about equally long.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Growth {
    /// In the order of time.
    pub parts: Vec<GrowthPart>,
}

/// A part of a growth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GrowthPart {
    /// Its length.
    pub seconds: f64,
    /// Bytes that came less those that went.
    pub bytes: f64,
    /// The standard error of that, for blocks are sampled by chance.
    pub error: f64,
    /// Blocks that came less those that went.
    pub blocks: f64,
}
