//! Times as people write them: RFC 3339, or milliseconds since 1970.

use chrono::{DateTime, SecondsFormat};

/// A time of Unix milliseconds as `2026-11-29T04:00:00.123Z`.
pub fn shown(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis);
    time.map_or_else(|| ms.to_string(), |time| time.to_rfc3339_opts(SecondsFormat::Millis, true))
}

/// As [`shown`], without what names should not have: `20261129T040000123Z`.
pub fn for_name(ms: u64) -> String {
    shown(ms).chars().filter(|c| !matches!(c, '-' | ':' | '.')).collect()
}

/// Reads RFC 3339 or milliseconds since 1970.
///
/// # Errors
/// What would be right.
pub fn parse(text: &str) -> Result<u64, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().map_err(|_| format!("'{text}' is too large"));
    }
    let time = DateTime::parse_from_rfc3339(text).map_err(|error| {
        format!(
            "'{text}' is no time ({error}): write 2026-11-29T04:00:00Z, or milliseconds since 1970"
        )
    })?;
    u64::try_from(time.timestamp_millis()).map_err(|_| format!("'{text}' is before 1970"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_shown() {
        let ms = 1_795_926_645_123;
        assert_eq!(shown(ms), "2026-11-29T04:30:45.123Z");
        assert_eq!(for_name(ms), "20261129T043045123Z");
        assert_eq!(parse(&shown(ms)), Ok(ms));
        assert_eq!(parse("2026-11-29T05:30:45.123+01:00"), Ok(ms));
        assert_eq!(parse("1795926645123"), Ok(ms));
        for wrong in ["", "yesterday", "2026-11-29", "1960-01-01T00:00:00Z"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
