//! What people and machines get to see. Sinks read; nothing here reaches back.

pub mod http;
pub mod metrics;
pub mod recording;
pub mod report;

pub use recording::Recording;
