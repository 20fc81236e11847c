//! Kubernetes quantities (`512Mi`, `1.5G`, `2e9`) as numbers.
//!
//! The grammar is that of `k8s.io/apimachinery/pkg/api/resource`.

/// A text that is not a quantity, or one that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a quantity such as 512Mi or 2Gi")]
pub struct Invalid(pub String);

/// The quantity in thousandths, rounded up as Kubernetes does.
///
/// # Errors
/// When the text is no quantity, negative or beyond what fits.
pub fn millis(text: &str) -> Result<u128, Invalid> {
    parse(text).ok_or_else(|| Invalid(text.to_owned()))
}

/// The quantity in whole units (bytes, for memory), rounded up.
///
/// # Errors
/// As [`millis`].
pub fn bytes(text: &str) -> Result<u64, Invalid> {
    let whole = millis(text)?.div_ceil(1000);
    u64::try_from(whole).map_err(|_| Invalid(text.to_owned()))
}

fn parse(text: &str) -> Option<u128> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(split);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || number.len() > 30 || fraction.contains('.') {
        return None;
    }
    // number = digits / 10^fraction.len()
    let digits: u128 = format!("{whole}{fraction}").parse().ok()?;
    let scale = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let (multiplier, divisor) = suffix_factor(suffix)?;
    let dividend = digits.checked_mul(multiplier)?.checked_mul(1000)?;
    Some(dividend.div_ceil(scale.checked_mul(divisor)?))
}

fn suffix_factor(suffix: &str) -> Option<(u128, u128)> {
    let binary = |power: u32| Some((1u128 << (10 * power), 1));
    let decimal = |power: u32| Some((10u128.pow(power), 1));
    match suffix {
        "n" => Some((1, 1_000_000_000)),
        "u" => Some((1, 1_000_000)),
        "m" => Some((1, 1000)),
        "" => decimal(0),
        "k" => decimal(3),
        "M" => decimal(6),
        "G" => decimal(9),
        "T" => decimal(12),
        "P" => decimal(15),
        "E" => decimal(18),
        "Ki" => binary(1),
        "Mi" => binary(2),
        "Gi" => binary(3),
        "Ti" => binary(4),
        "Pi" => binary(5),
        "Ei" => binary(6),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10u128.checked_pow(exponent.unsigned_abs())?;
            Some(if exponent < 0 { (1, power) } else { (power, 1) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_reads_them() {
        for (text, bytes_expected) in [
            ("0", 0),
            ("1", 1),
            ("1k", 1000),
            ("1Ki", 1024),
            ("512Mi", 512 << 20),
            ("1.5Gi", 3 << 29),
            ("2e3", 2000),
            ("2E3", 2000),
            ("1E", 1_000_000_000_000_000_000),
            (".5Ki", 512),
            ("1500m", 2),
            ("+1G", 1_000_000_000),
        ] {
            assert_eq!(bytes(text), Ok(bytes_expected), "{text}");
        }
        assert_eq!(millis("250m"), Ok(250));
        assert_eq!(millis("1"), Ok(1000));
    }

    #[test]
    fn what_is_no_quantity_is_refused_with_the_text_in_the_message() {
        for text in [
            "",
            ".",
            "GB",
            "1GB",
            "-1",
            "1..2",
            "1 Gi",
            "1e",
            "1e999",
            "é",
            "99999999999999999999E",
        ] {
            let error = bytes(text).expect_err(text);
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
