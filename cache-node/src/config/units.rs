//! Sizes and durations as people write them.
//!
//! Sizes follow Redis's reading, so that a value keeps its meaning when it moves from a
//! `redis.conf`: `kb`, `mb`, `gb`, `tb` are powers of 1024, as are `KiB` to `TiB`; the bare letters
//! `k`, `m`, `g`, `t` are powers of 1000; a number alone is bytes. Letter case does not matter.
//!
//! Durations are numbers with a unit, one after another from the longest: `250ms`, `300s`, `5m`,
//! `1h30m`, `7d`. Only zero may stand without a unit.

/// The longest duration that is taken: 100 years of 365 days.
const MAX_DURATION_MS: u64 = 100 * 365 * 24 * 3_600_000;

const SIZE_UNITS: [(&str, u64); 14] = [
    ("", 1),
    ("b", 1),
    ("k", 1_000),
    ("kb", 1 << 10),
    ("kib", 1 << 10),
    ("m", 1_000_000),
    ("mb", 1 << 20),
    ("mib", 1 << 20),
    ("g", 1_000_000_000),
    ("gb", 1 << 30),
    ("gib", 1 << 30),
    ("t", 1_000_000_000_000),
    ("tb", 1 << 40),
    ("tib", 1 << 40),
];

/// Longest first: a duration is written from the longest unit to the shortest.
const DURATION_UNITS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a size in bytes.
///
/// # Errors
/// What is wrong and what would be right.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong =
        || format!("'{text}' is not a size: write bytes or a unit, such as 512MB, 1GB or 1GiB");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(wrong());
    }
    let unit = unit.trim_start().to_ascii_lowercase();
    let (_, factor) = SIZE_UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(*factor))
        .filter(|bytes| *bytes <= i64::MAX as u64)
        .ok_or_else(|| format!("'{text}' is more than {} bytes", i64::MAX))
}

/// Writes a size so that [`parse_size`] reads it back, with the largest unit that is exact.
pub fn format_size(bytes: u64) -> String {
    for (unit, factor) in [("TB", 1u64 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("KB", 1 << 10)] {
        if bytes >= factor && bytes.is_multiple_of(factor) {
            return format!("{}{unit}", bytes / factor);
        }
    }
    bytes.to_string()
}

/// Reads a duration in milliseconds.
///
/// # Errors
/// What is wrong and what would be right.
pub fn parse_duration(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is not a duration: write 250ms, 300s, 5m, 1h30m or 7d");
    if text == "0" {
        return Ok(0);
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("'{text}' has no unit: write {text}s or {text}ms"));
    }
    let too_long = || format!("'{text}' is longer than 100 years");
    let mut rest = text;
    let mut total = 0u64;
    let mut units = DURATION_UNITS.iter();
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
        rest = &rest[digits + letters..];
        if number.is_empty() {
            return Err(wrong());
        }
        // Each unit once, from long to short: `units` only moves forward.
        let (_, factor) = units.find(|(name, _)| *name == unit).ok_or_else(wrong)?;
        let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(*factor));
        total = part.and_then(|ms| total.checked_add(ms)).ok_or_else(too_long)?;
    }
    match total {
        _ if text.is_empty() => Err(wrong()),
        total if total > MAX_DURATION_MS => Err(too_long()),
        total => Ok(total),
    }
}

/// Writes a duration so that [`parse_duration`] reads it back.
pub fn format_duration(ms: u64) -> String {
    let mut rest = ms;
    let mut text = String::new();
    for (unit, factor) in DURATION_UNITS {
        if rest >= factor {
            text.push_str(&format!("{}{unit}", rest / factor));
            rest %= factor;
        }
    }
    if text.is_empty() { "0s".into() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sizes_are_read_as_redis_reads_them() {
        for (text, bytes) in [
            ("0", 0),
            ("1024", 1024),
            ("12b", 12),
            ("1k", 1000),
            ("1kb", 1024),
            ("1KiB", 1024),
            ("512MB", 512 << 20),
            ("1 GB", 1 << 30),
            ("1GiB", 1 << 30),
            ("2g", 2_000_000_000),
            ("1tb", 1 << 40),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_size_says_how_to_write_one() {
        for text in ["", "GB", "-1", "1.5GB", "1XB", "1GB extra", "0x10"] {
            assert!(parse_size(text).is_err_and(|e| e.contains("512MB")), "{text}");
        }
        for text in ["9223372036854775808", "99999999TB", "99999999999999999999999"] {
            assert!(parse_size(text).is_err_and(|e| e.contains("more than")), "{text}");
        }
    }

    #[test]
    fn durations_are_numbers_with_units_from_long_to_short() {
        for (text, ms) in [
            ("0", 0),
            ("0s", 0),
            ("250ms", 250),
            ("300s", 300_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("1h30m", 5_400_000),
            ("1d2h3m4s5ms", 93_784_005),
        ] {
            assert_eq!(parse_duration(text), Ok(ms), "{text}");
        }
        for text in ["", "s", "1", "5 m", "30m1h", "1h1h", "-5s", "1.5h", "1w", "5mm"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert!(parse_duration("60").is_err_and(|e| e.contains("60s")));
        assert!(parse_duration("99999999999999999999h").is_err_and(|e| e.contains("100 years")));
        assert!(parse_duration("36501d").is_err_and(|e| e.contains("100 years")));
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(bytes in 0..=i64::MAX as u64, ms in 0..=MAX_DURATION_MS) {
            prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
            prop_assert_eq!(parse_duration(&format_duration(ms)), Ok(ms));
        }

        #[test]
        fn no_text_panics(text in ".{0,24}") {
            let _ = parse_size(&text);
            let _ = parse_duration(&text);
        }
    }
}
