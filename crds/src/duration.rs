//! Durations as resources write them: `500ms`, `30s`, `1h30m`, `7d`.

/// A text that is not a duration, or one that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a duration such as 500ms, 30s, 5m, 1h30m or 7d")]
pub struct Invalid(pub String);

/// The duration in milliseconds.
///
/// # Errors
/// When the text is no duration, zero or beyond what fits.
pub fn millis(text: &str) -> Result<u64, Invalid> {
    parse(text).filter(|&ms| ms > 0).ok_or_else(|| Invalid(text.to_owned()))
}

fn parse(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total_ms = 0u64;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let factor_ms = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60 * 1000,
            "h" => 60 * 60 * 1000,
            "d" => 24 * 60 * 60 * 1000,
            _ => return None,
        };
        total_ms = total_ms.checked_add(number.parse::<u64>().ok()?.checked_mul(factor_ms)?)?;
        rest = tail;
    }
    Some(total_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_add_up() {
        assert_eq!(millis("500ms"), Ok(500));
        assert_eq!(millis("30s"), Ok(30_000));
        assert_eq!(millis("1h30m"), Ok(5_400_000));
        assert_eq!(millis("7d"), Ok(604_800_000));
    }

    #[test]
    fn zero_and_words_are_refused() {
        for text in ["", "0s", "5", "m", "5 m", "-5m", "5y", "99999999999999999999d"] {
            assert!(millis(text).is_err(), "{text}");
        }
    }
}
