use regex::Captures;

use super::pattern::Pattern;

/// A group's name with places for parts of what patterns matched: `$1`, `${1}`, `$pool`, `${pool}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NameTemplate(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Capture { pattern: usize, group: usize },
}

impl NameTemplate {
    /// Half a line for a reference that leads nowhere.
    pub(super) fn parse(text: &str, patterns: &[&Pattern]) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            parts.push(Part::Text(before.to_owned()));
            let (part, tail) = match after.strip_prefix('$') {
                Some(tail) => (Part::Text("$".to_owned()), tail),
                None => {
                    let (name, tail) = reference(after)?;
                    (capture(name, patterns)?, tail)
                }
            };
            parts.push(part);
            rest = tail;
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(Self(parts))
    }

    /// Whether it names the same group always.
    pub(super) fn is_fixed(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// The name, now that every pattern has matched.
    pub(super) fn expand(&self, matches: &[Captures<'_>]) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(text) => text,
            Part::Capture { pattern, group } => {
                matches[*pattern].get(*group).map_or("", |part| part.as_str())
            }
        });
        parts.collect()
    }
}

/// What stands behind a `$`, and the text after that.
fn reference(text: &str) -> Result<(&str, &str), String> {
    if let Some(braced) = text.strip_prefix('{') {
        return braced.split_once('}').ok_or_else(|| "${ has no }".to_owned());
    }
    let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let end = text.find(|letter| !is_name(letter)).unwrap_or(text.len());
    if end == 0 {
        return Err("a $ refers to nothing; write $$ for a dollar".to_owned());
    }
    Ok(text.split_at(end))
}

fn capture(name: &str, patterns: &[&Pattern]) -> Result<Part, String> {
    if let Ok(group) = name.parse() {
        return match patterns {
            [one] if group < one.groups() => Ok(Part::Capture { pattern: 0, group }),
            [_] => Err(format!("${name} is more than the pattern captures")),
            _ => Err(format!("${name} may be of any of several patterns; name it: (?<x>…) and $x")),
        };
    }
    let found = patterns
        .iter()
        .enumerate()
        .filter_map(|(pattern, one)| one.group(name).map(|group| Part::Capture { pattern, group }));
    let mut found: Vec<_> = found.collect();
    match (found.pop(), found.is_empty()) {
        (Some(part), true) => Ok(part),
        (Some(_), false) => Err(format!("${name} is captured by more than one pattern")),
        (None, _) => Err(format!("no pattern captures ${{{name}}}, as (?<{name}>…) would")),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn expand(template: &str, patterns: &[&str], texts: &[&str]) -> Result<String, String> {
        let patterns: Vec<_> = patterns.iter().map(|text| Pattern::new(text).unwrap()).collect();
        let template = NameTemplate::parse(template, &patterns.iter().collect::<Vec<_>>())?;
        let matches = patterns.iter().zip(texts).map(|(one, text)| one.captures(text).unwrap());
        Ok(template.expand(&matches.collect::<Vec<_>>()))
    }

    #[test]
    fn parts_of_a_match_take_their_places() {
        let of_one = |template| expand(template, &["(a+)(?<rest>.*)|(z)"], &["aab c"]);
        for (template, name) in [
            ("plain", "plain"),
            ("$1", "aa"),
            ("x-${1}_$rest.y", "x-aa_b c.y"),
            ("$0", "aab c"),
            ("$$1-$$", "$1-$"),
            ("[$3]", "[]"),
        ] {
            assert_eq!(of_one(template).as_deref(), Ok(name), "{template}");
        }
        let of_two = expand("$a/$b", &["(?<a>.)", "(?P<b>.)"], &["1", "2"]);
        assert_eq!(of_two.as_deref(), Ok("1/2"));
    }

    #[test]
    fn a_reference_that_leads_nowhere_is_refused() {
        for (template, why) in [
            ("$4", "more than the pattern captures"),
            ("$2_x", "no pattern captures"),
            ("$99999999999999999999", "no pattern captures"),
            ("$pool", "no pattern captures"),
            ("${1", "no }"),
            ("${}", "no pattern captures"),
            ("a$", "$$"),
            ("$-", "$$"),
        ] {
            let said = expand(template, &["(a)(b)(c)"], &[]).unwrap_err();
            assert!(said.contains(why), "{template}: {said}");
        }
        assert!(expand("$1", &["(a)", "(b)"], &[]).unwrap_err().contains("several"));
        assert!(expand("$x", &["(?<x>a)", "(?<x>b)"], &[]).unwrap_err().contains("more than one"));
    }

    #[test]
    fn only_text_is_the_same_always() {
        let pattern = Pattern::new("(a)").unwrap();
        let is_fixed = |text| NameTemplate::parse(text, &[&pattern]).unwrap().is_fixed();
        assert!(is_fixed("a$$b") && !is_fixed("a$1"));
    }
}
