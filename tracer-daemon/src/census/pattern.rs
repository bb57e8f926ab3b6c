use regex::{Captures, Regex, RegexBuilder};

/// What a pattern may take once compiled. One line of a configuration is not to fill the memory.
const MOST_BYTES: usize = 1 << 20;
/// Of a longer text this is looked at: a control group's path may have any length.
const LONGEST_TEXT: usize = 4096;

/// A regular expression that has to match all of a text, as in Prometheus. Matching takes time in
/// proportion to the text, whatever the pattern.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

impl Pattern {
    /// # Errors
    /// Half a line for a text that is no regular expression, or one that compiles to too much.
    pub fn new(text: &str) -> Result<Self, String> {
        // By itself first: the halves of `a)|(b` would go well with what is put around them.
        compiled(text)?;
        compiled(&format!("^(?s:{text})$")).map(Self)
    }

    pub(super) fn captures<'t>(&self, text: &'t str) -> Option<Captures<'t>> {
        self.0.captures(beginning(text))
    }

    /// How many groups it captures, the whole match among them.
    pub(super) fn groups(&self) -> usize {
        self.0.captures_len()
    }

    /// The number of the group with this name.
    pub(super) fn group(&self, name: &str) -> Option<usize> {
        self.0.capture_names().position(|known| known == Some(name))
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

fn compiled(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).size_limit(MOST_BYTES).dfa_size_limit(MOST_BYTES).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "compiles to more than a mebibyte".to_owned(),
        // A drawing of several lines, and then the reason.
        error => {
            let text = error.to_string();
            let why = text.lines().last().unwrap_or_default();
            why.trim().trim_start_matches("error: ").to_owned()
        }
    })
}

fn beginning(text: &str) -> &str {
    let end = (0..=LONGEST_TEXT.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn matches(pattern: &str, text: &str) -> bool {
        Pattern::new(pattern).unwrap().captures(text).is_some()
    }

    #[test]
    fn all_of_the_text_has_to_match() {
        assert!(
            matches("nginx", "nginx") && !matches("nginx", "nginx2") && !matches("ng", "nginx")
        );
        assert!(matches("a|ab", "ab") && !matches("a|b", "ab"));
        assert!(matches("a.*c", "a\nb\nc") && !matches("a", "a\n") && !matches("(?m)a", "a\n"));
        assert!(matches("", "") && !matches("", "a"));
    }

    #[test]
    fn nonsense_has_a_reason_on_one_line() {
        for (pattern, reason) in [
            ("(", "unclosed group"),
            ("a)|(b", "unopened group"),
            ("[z-a]", "invalid character class range"),
            ("(?=a)", "look-around"),
            (r"\w{500}", "mebibyte"),
            ("(a{1000}){1000}", "mebibyte"),
        ] {
            let why = Pattern::new(pattern).unwrap_err();
            assert!(why.contains(reason) && !why.contains('\n'), "{pattern}: {why}");
        }
    }

    #[test]
    fn of_a_long_text_the_beginning_counts() {
        let text = "é".repeat(LONGEST_TEXT);
        assert!(matches(&format!("é{{{}}}", LONGEST_TEXT / 2), &text));
        assert_eq!(beginning(&format!("a{text}")).len(), LONGEST_TEXT - 1);
    }
}
