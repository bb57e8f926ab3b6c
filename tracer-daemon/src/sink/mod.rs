//! What people and machines get to see. Sinks read; nothing here reaches back.

pub mod findings;
pub mod http;
pub mod live;
pub mod metrics;
pub mod profile;
pub mod rates;
pub mod recording;
pub mod report;
mod save;

pub use recording::Recording;
pub(crate) use save::save;
