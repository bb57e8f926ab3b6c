/// Bytes, or a number with `K`, `M`, `G` or `T` behind it.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| "not a number".to_owned())?;
    let unit = text[digits.len()..].to_ascii_lowercase();
    let shift = match unit.trim_end_matches("ib") {
        "" | "b" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(format!("{unit} is no unit; use K, M, G or T")),
    };
    match number.checked_mul(1 << shift) {
        Some(0) => Err("nothing fits into every hole".to_owned()),
        Some(bytes) => Ok(bytes),
        None => Err("too large".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, bytes) in
            [("4096", 4096), ("512K", 512 << 10), ("2MiB", 2 << 20), ("1g", 1 << 30), ("7b", 7)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "K", "-1", "1.5M", "2 apples", "0", "99999999T", "1é"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
