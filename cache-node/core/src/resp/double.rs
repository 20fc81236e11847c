//! Doubles as replies show them, and as arguments are read.

use super::parse_i64;

/// Integers up to this are printed as such.
const EXACT_INTEGERS: f64 = (1u64 << 52) as f64;

/// The shortest text that reads back as the same double, as Valkey prints it: integers without a
/// point, very large and very small numbers with an exponent of a sign and its digits.
pub fn format_double(value: f64) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    if value == 0.0 {
        return if value.is_sign_negative() { "-0".into() } else { "0".into() };
    }
    if value.fract() == 0.0 && value.abs() <= EXACT_INTEGERS {
        return itoa::Buffer::new().format(value as i64).to_owned();
    }
    // Rust prints the shortest digits as well: d.ddde±x.
    let text = format!("{value:e}");
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.as_str()),
    };
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let exponent = parse_i64(exponent.as_bytes()).unwrap_or(0);
    format!("{sign}{}", place_point(&digits, exponent))
}

/// Digits with the point behind the first, times ten to a power, as text.
fn place_point(digits: &str, exponent: i64) -> String {
    let count = digits.len() as i64;
    // The power of the last digit.
    let last = exponent - (count - 1);
    let size = exponent.abs();
    if last >= 0 && size < count + 7 {
        return format!("{digits}{}", "0".repeat(last as usize));
    }
    if last < 0 && (last > -7 || size < 4) {
        let whole = count + last;
        return match usize::try_from(whole) {
            Ok(whole) if whole > 0 => format!("{}.{}", &digits[..whole], &digits[whole..]),
            _ => format!("0.{}{digits}", "0".repeat(whole.unsigned_abs() as usize)),
        };
    }
    let (first, rest) = digits.split_at(1);
    let point = if rest.is_empty() { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{point}{rest}e{sign}{size}")
}

/// Reads a whole double as C's `strtod` does: decimal or hexadecimal, `inf`, `infinity` and `nan`
/// in any case; no space. `None` for anything else.
fn read(text: &[u8]) -> Option<f64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let value = match digits {
        [b'0', b'x' | b'X', rest @ ..] => read_hexadecimal(rest)?,
        [b'+' | b'-', ..] => return None,
        _ => std::str::from_utf8(digits).ok()?.parse::<f64>().ok()?,
    };
    Some(if negative { -value } else { value })
}

fn read_hexadecimal(text: &[u8]) -> Option<f64> {
    let (mut value, mut power, mut point, mut seen) = (0f64, 0i64, false, false);
    let mut rest = text;
    while let [byte, tail @ ..] = rest {
        match (char::from(*byte).to_digit(16), byte) {
            (Some(digit), _) => {
                value = value * 16.0 + f64::from(digit);
                power -= if point { 4 } else { 0 };
                seen = true;
            }
            (None, b'.') if !point => point = true,
            _ => break,
        }
        rest = tail;
    }
    if let [b'p' | b'P', tail @ ..] = rest {
        let tail = tail.strip_prefix(b"+").unwrap_or(tail);
        let (negative, digits) = match tail.strip_prefix(b"-") {
            Some(digits) => (true, digits),
            None => (false, tail),
        };
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let size = digits
            .iter()
            .fold(0i64, |size, digit| (size * 10 + i64::from(digit - b'0')).min(100_000));
        power += if negative { -size } else { size };
        rest = &[];
    }
    let power = i32::try_from(power.clamp(-100_000, 100_000)).ok()?;
    (seen && rest.is_empty()).then(|| value * 2f64.powi(power))
}

/// A double argument: no space around it, not NaN, and neither too large nor too small for a
/// double. It may be infinite if it says so.
pub fn parse_double(text: &[u8]) -> Option<f64> {
    let value = read(text).filter(|value| !value.is_nan())?;
    let names = |byte: &u8| matches!(byte, b'i' | b'I');
    if value.is_infinite() && !text.iter().any(names) {
        return None;
    }
    let significant = text.iter().take_while(|byte| !matches!(byte, b'e' | b'E' | b'p' | b'P'));
    if value == 0.0 && significant.into_iter().any(|byte| matches!(byte, b'1'..=b'9')) {
        return None;
    }
    Some(value)
}

/// A double that ends a range, as `strtod` reads it up to a NUL: space may stand in front, nothing
/// means 0, and what is out of range is infinite or 0. `None` for NaN and anything else.
pub fn parse_bound(text: &[u8]) -> Option<f64> {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    let text = &text[..end];
    if text.is_empty() {
        return Some(0.0);
    }
    let space = |byte: &&u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = text.iter().take_while(space).count();
    read(&text[start..]).filter(|value| !value.is_nan())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_printed_as_valkey_prints_them() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-17.0, "-17"),
            (0.1, "0.1"),
            (2.141592653589793, "2.141592653589793"),
            (1e17, "1e+17"),
            (1e21 + 1e6, "1000000000000001000000"),
            (1.5e300, "1.5e+300"),
            (1e-7, "1e-7"),
            (0.000001, "0.000001"),
            (1.25e-10, "1.25e-10"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (9007199254740992.0, "9007199254740992"),
            (-123456.789, "-123456.789"),
        ] {
            assert_eq!(format_double(value), text);
        }
    }

    #[test]
    fn only_what_strtod_takes_whole_is_a_double() {
        for (text, value) in [
            ("1", 1.0),
            ("-1.5e3", -1500.0),
            ("+2", 2.0),
            (".5", 0.5),
            ("7.", 7.0),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
            ("0x10", 16.0),
            ("0x1.8p1", 3.0),
            ("0e-999", 0.0),
        ] {
            assert_eq!(parse_double(text.as_bytes()), Some(value), "{text}");
        }
        for text in ["", " 1", "1 ", "1e", "e1", ".", "abc", "1e999", "1e-999", "0x", "--1", "+-1"]
        {
            assert_eq!(parse_double(text.as_bytes()), None, "{text}");
        }
        assert_eq!(parse_double(b"nan"), None);
        assert_eq!(parse_bound(b""), Some(0.0));
        assert_eq!(parse_bound(b" 1e999"), Some(f64::INFINITY));
        assert_eq!(parse_bound(b"nan"), None);
    }
}
