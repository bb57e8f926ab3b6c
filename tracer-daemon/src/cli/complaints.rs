//! What workers complain about although they did their work, each complaint once: a file that cannot be read
//! is so in every window.

use std::collections::HashSet;

/// Complaints that are told apart.
const MOST: usize = 256;

/// Those that were heard.
#[derive(Default)]
pub(super) struct Complaints(HashSet<String>);

impl Complaints {
    /// The lines that are new.
    pub(super) fn new_ones(&mut self, said: &str) -> Vec<String> {
        let known = &mut self.0;
        let mut new = Vec::new();
        // What has no end may have been cut.
        let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for line in whole.lines().map(|line| line.trim_start_matches("alloctrace: ")) {
            if known.len() < MOST && known.insert(line.to_owned()) {
                new.push(line.to_owned());
                if known.len() == MOST {
                    new.push("more complaints of windows and looks are not shown".to_owned());
                }
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_new_once_and_not_too_many_are() {
        let mut complaints = Complaints::default();
        assert_eq!(complaints.new_ones("alloctrace: a\nb\nalloctrace: a\n"), ["a", "b"]);
        assert_eq!(complaints.new_ones("b\nc\nd"), ["c"]);
        let many: Vec<_> = (0..2 * MOST).map(|number| number.to_string()).collect();
        // The last one is that there are more.
        assert_eq!(complaints.new_ones(&(many.join("\n") + "\n")).len(), MOST - 3 + 1);
        assert!(complaints.new_ones("d\n").is_empty());
    }
}
