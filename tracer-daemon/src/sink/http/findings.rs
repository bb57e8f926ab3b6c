use std::time::Instant;

/// A finding about a group, as long as it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActiveFinding {
    /// Whose it is.
    pub group: String,
    /// The pathology's name.
    pub id: String,
    /// What is wrong, in a line.
    pub summary: String,
    /// What to do, best first.
    pub remedy: Vec<String>,
    /// When it was first found.
    pub since: Instant,
}
