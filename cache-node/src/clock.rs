//! The wall clock, read in one place.

pub use hypercache_log::{now_ms, timestamp as rfc3339};

/// Milliseconds since this machine started, by a clock that nobody sets and that goes on while the machine
/// sleeps (`CLOCK_BOOTTIME`). Never 0.
#[inline]
pub fn boot_ms() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to the struct that it is given, and to nothing else.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) } != 0;
    debug_assert!(!failed, "Linux has this clock since 2.6.39");
    (time.tv_sec as u64 * 1000 + time.tv_nsec as u64 / 1_000_000).max(1)
}

const DAY_MS: u64 = 86_400_000;

/// The date of a day that is so many days after 1970-01-01, in the Gregorian calendar (Hinnant,
/// "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`).
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

/// Unix milliseconds of a time as RFC 3339 writes it (`2026-11-29T02:44:38Z`, with a fraction of a second
/// or an offset if there is one); `None` for another text, or a time before 1970.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| -> Option<u64> {
        let digits = text.get(from..to)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let is = |at: usize, of: &str| text.get(at..=at).is_some_and(|mark| of.contains(mark));
    if !(is(4, "-") && is(7, "-") && is(10, "Tt ") && is(13, ":") && is(16, ":")) {
        return None;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if year < 1970 || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted_year / 400, shifted_year % 400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted + 2) / 5 + day.checked_sub(1)?;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    let days = days.checked_sub(719_468)?;
    if date(days) != (year, month, day) {
        return None;
    }
    let mut rest = text.get(19..)?;
    let mut ms = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, after) = fraction.split_at_checked(digits).filter(|(d, _)| !d.is_empty())?;
        ms = format!("{digits:0<3}").get(..3)?.parse().ok()?;
        rest = after;
    }
    let at_utc = days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 + ms;
    if rest.eq_ignore_ascii_case("z") {
        return Some(at_utc);
    }
    let sign = rest.chars().next().filter(|sign| "+-".contains(*sign))?;
    let (hours, minutes) = rest.get(1..)?.split_once(':')?;
    let two = |text: &str| -> Option<u64> {
        let is_two = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        is_two.then(|| text.parse().ok())?
    };
    let offset = (two(hours)? * 60 + two(minutes)?) * 60_000;
    if sign == '+' { at_utc.checked_sub(offset) } else { at_utc.checked_add(offset) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_rfc_3339_has_them_and_read_back() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_920_278_123, "2026-11-29T02:44:38.123Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
            assert_eq!(parse_rfc3339(text), Some(ms), "{text}");
        }
        for day in 0..40_000 {
            let ms = day * DAY_MS + 1;
            assert_eq!(parse_rfc3339(&rfc3339(ms)), Some(ms));
        }
    }

    #[test]
    fn offsets_and_fractions_are_understood_and_what_is_no_time_is_none() {
        assert_eq!(parse_rfc3339("1970-01-01T01:00:00+01:00"), Some(0));
        assert_eq!(parse_rfc3339("1969-12-31T23:00:00Z"), None);
        assert_eq!(parse_rfc3339("1970-01-01 00:00:01.5z"), Some(1500));
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00-00:30"), Some(1_800_000));
        for text in ["", "now", "1970-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "1970-01-01T00:00"]
        {
            assert_eq!(parse_rfc3339(text), None, "{text}");
        }
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00.Z"), None);
        assert_eq!(parse_rfc3339("1970-01-01T00:00:00+1:00"), None);
    }
}
