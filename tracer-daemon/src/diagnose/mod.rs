//! From numbers to advice: a file for each pathology, a pure function of the snapshot.

mod finding;

pub use finding::{Cause, Cost, Finding, Saving, Severity};
