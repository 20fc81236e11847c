//! Numbers with a mantissa of 64 bits: INCRBYFLOAT's results are those of Redis, which computes
//! with x86's 80-bit `long double` (IEEE 754's extended format) and prints 17 decimals.

/// The largest exponent of the extended format, for a mantissa read as an integer.
const MAX_EXPONENT: i32 = 16383 - 63;
/// The smallest one of a normal number.
const MIN_EXPONENT: i32 = -16382 - 63;
/// Redis reads no number that is longer (its buffer has 5 KiB).
const MAX_TEXT_BYTES: usize = 5 * 1024 - 1;
/// Decimals that are printed.
const DECIMALS: u32 = 17;
/// A decimal exponent beyond this is out of range whatever the digits.
const MAX_DECIMAL_EXPONENT: i64 = 6000;
/// The largest power of ten that a limb holds.
const LIMB_TEN: (u32, u32) = (9, 1_000_000_000);

/// `±mantissa · 2^exponent`; the mantissa has its top bit set, or is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extended {
    negative: bool,
    mantissa: u64,
    exponent: i32,
}

/// What a text means as a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parsed {
    Finite(Extended),
    Infinite,
    Invalid,
}

impl Extended {
    pub const ZERO: Self = Self { negative: false, mantissa: 0, exponent: 0 };

    /// Reads a decimal number as C's `strtold` does, rounded to the nearest, ties to even.
    pub fn parse(text: &[u8]) -> Parsed {
        if text.is_empty() || text.len() > MAX_TEXT_BYTES {
            return Parsed::Invalid;
        }
        let (negative, rest) = match text {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        if rest.eq_ignore_ascii_case(b"inf") || rest.eq_ignore_ascii_case(b"infinity") {
            return Parsed::Infinite;
        }
        let mut digits = Big::default();
        // Nine digits at a time go to the large number.
        let (mut group, mut scale) = (0, 1);
        let (mut seen, mut exponent, mut point) = (false, 0i64, false);
        let mut rest = rest;
        while let [byte, tail @ ..] = rest {
            match byte {
                b'0'..=b'9' => {
                    (group, scale) = (group * 10 + u32::from(byte - b'0'), scale * 10);
                    if scale == LIMB_TEN.1 {
                        digits.multiply_add(scale, group);
                        (group, scale) = (0, 1);
                    }
                    seen = true;
                    exponent -= i64::from(point);
                }
                b'.' if !point => point = true,
                _ => break,
            }
            rest = tail;
        }
        digits.multiply_add(scale, group);
        if let [b'e' | b'E', tail @ ..] = rest {
            let Some(power) = read_exponent(tail) else { return Parsed::Invalid };
            exponent += power;
            rest = &[];
        }
        if !seen || !rest.is_empty() {
            return Parsed::Invalid;
        }
        match Self::from_decimal(negative, digits, exponent) {
            Some(value) => Parsed::Finite(value),
            None => Parsed::Invalid,
        }
    }

    /// `digits · 10^exponent`, rounded; `None` when that is out of range.
    fn from_decimal(negative: bool, mut digits: Big, exponent: i64) -> Option<Self> {
        if digits.is_zero() {
            return Some(Self { negative, ..Self::ZERO });
        }
        if exponent.abs() > MAX_DECIMAL_EXPONENT {
            return None;
        }
        let (mut binary, mut sticky) = (0, false);
        let power = exponent.unsigned_abs() as u32;
        if exponent >= 0 {
            digits.scale_up(power);
        } else {
            // Enough bits in front that 66 or more stay after the division.
            let shift = power * 10 / 3 + 70;
            digits.shift_left(shift);
            binary = -(shift as i32);
            sticky = digits.scale_down(power);
        }
        let bits = digits.bits();
        let (top, dropped) = digits.top_128();
        sticky |= dropped;
        binary += bits.saturating_sub(128) as i32;
        Self::round(negative, top, binary, sticky).filter(|value| value.mantissa != 0)
    }

    /// `±(value + sticky) · 2^exponent` rounded to 64 bits; `sticky` stands for something between
    /// 0 and 1. `None` when it is too large; 0 when it is too small.
    fn round(negative: bool, value: u128, exponent: i32, sticky: bool) -> Option<Self> {
        if value == 0 {
            return Some(Self { negative, ..Self::ZERO });
        }
        let shift = 64 - value.leading_zeros() as i32;
        let (mut mantissa, mut exponent) = if shift <= 0 {
            ((value as u64) << -shift, exponent + shift)
        } else {
            let kept = (value >> shift) as u64;
            let rest = value & ((1u128 << shift) - 1);
            let half = 1u128 << (shift - 1);
            let up = rest > half || rest == half && (sticky || kept & 1 == 1);
            match kept.checked_add(u64::from(up)) {
                Some(mantissa) => (mantissa, exponent + shift),
                None => (1 << 63, exponent + shift + 1),
            }
        };
        if exponent > MAX_EXPONENT {
            return None;
        }
        if exponent < MIN_EXPONENT {
            (mantissa, exponent) = (0, 0);
        }
        Some(Self { negative, mantissa, exponent })
    }

    /// The sum, rounded; `None` when it is not finite.
    pub fn add(self, other: Self) -> Option<Self> {
        if other.mantissa == 0 {
            return Some(self);
        }
        if self.mantissa == 0 {
            return Some(other);
        }
        let larger = (self.exponent, self.mantissa) >= (other.exponent, other.mantissa);
        let (high, low) = if larger { (self, other) } else { (other, self) };
        // 62 bits of room below, one above.
        let distance = (high.exponent - low.exponent) as u32;
        let a = u128::from(high.mantissa) << 62;
        let b = u128::from(low.mantissa) << 62;
        let shifted = b.checked_shr(distance).unwrap_or(0);
        let sticky = distance > 0 && (distance >= 128 || shifted << distance != b);
        let sum = if high.negative == low.negative {
            a + shifted
        } else {
            // What is cut off makes the difference smaller.
            a - shifted - u128::from(sticky)
        };
        if sum == 0 {
            return Some(Self::ZERO);
        }
        Self::round(high.negative, sum, high.exponent - 62, sticky)
    }

    /// The number with up to 17 decimals, without trailing zeros.
    pub fn format(self) -> String {
        let digits = if self.exponent >= 0 {
            let mut whole = Big::from(self.mantissa);
            whole.shift_left(self.exponent as u32);
            whole.to_decimal()
        } else {
            let scaled = u128::from(self.mantissa) * 10u128.pow(DECIMALS);
            let shift = self.exponent.unsigned_abs();
            let kept = scaled.checked_shr(shift).unwrap_or(0);
            let up = (1..=127).contains(&shift) && {
                let rest = scaled - (kept << shift);
                let half = 1u128 << (shift - 1);
                rest > half || rest == half && kept & 1 == 1
            };
            let scaled = kept + u128::from(up);
            let (whole, part) = (scaled / 10u128.pow(DECIMALS), scaled % 10u128.pow(DECIMALS));
            let text = format!("{whole}.{part:017}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        if self.negative && digits != "0" { format!("-{digits}") } else { digits }
    }
}

/// The digits after `e`, with a sign; a very large one stands for any that is.
fn read_exponent(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = digits
        .iter()
        .fold(0i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(1_000_000));
    Some(if negative { -value } else { value })
}

/// A large integer, the lowest limb first.
#[derive(Debug, Clone, Default)]
struct Big(Vec<u32>);

impl From<u64> for Big {
    fn from(value: u64) -> Self {
        Self(vec![value as u32, (value >> 32) as u32])
    }
}

impl Big {
    fn is_zero(&self) -> bool {
        self.0.iter().all(|limb| *limb == 0)
    }

    fn multiply_add(&mut self, factor: u32, add: u32) {
        let mut carry = u64::from(add);
        for limb in &mut self.0 {
            carry += u64::from(*limb) * u64::from(factor);
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry != 0 {
            self.0.push(carry as u32);
        }
    }

    /// Divides and returns the remainder.
    fn divide(&mut self, divisor: u32) -> u32 {
        let mut rest = 0u64;
        for limb in self.0.iter_mut().rev() {
            let value = rest << 32 | u64::from(*limb);
            *limb = (value / u64::from(divisor)) as u32;
            rest = value % u64::from(divisor);
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        rest as u32
    }

    /// Times ten to a power.
    fn scale_up(&mut self, power: u32) {
        for _ in 0..power / LIMB_TEN.0 {
            self.multiply_add(LIMB_TEN.1, 0);
        }
        self.multiply_add(10u32.pow(power % LIMB_TEN.0), 0);
    }

    /// Divided by ten to a power; whether something was cut off.
    fn scale_down(&mut self, power: u32) -> bool {
        let mut rest = 0;
        for _ in 0..power / LIMB_TEN.0 {
            rest |= self.divide(LIMB_TEN.1);
        }
        rest |= self.divide(10u32.pow(power % LIMB_TEN.0));
        rest != 0
    }

    fn shift_left(&mut self, bits: u32) {
        self.multiply_add(1 << (bits % 32), 0);
        let zeros = std::iter::repeat_n(0, (bits / 32) as usize);
        self.0.splice(0..0, zeros);
    }

    fn bits(&self) -> u32 {
        match self.0.iter().rposition(|limb| *limb != 0) {
            Some(top) => top as u32 * 32 + 32 - self.0[top].leading_zeros(),
            None => 0,
        }
    }

    /// The top 128 bits (all, if there are fewer), and whether any below are set.
    fn top_128(&self) -> (u128, bool) {
        let drop = self.bits().saturating_sub(128);
        let (limbs, bits) = ((drop / 32) as usize, drop % 32);
        let mut dropped = self.0.iter().take(limbs).any(|limb| *limb != 0);
        let mut value = 0u128;
        for (i, limb) in self.0.iter().skip(limbs).enumerate().take(5) {
            let limb = u128::from(*limb);
            let at = i as u32 * 32;
            if i == 0 {
                dropped |= limb & ((1 << bits) - 1) != 0;
                value = limb >> bits;
            } else {
                let place = at - bits;
                if place < 128 {
                    value |= limb << place;
                }
            }
        }
        (value, dropped)
    }

    fn to_decimal(&self) -> String {
        let mut rest = self.clone();
        let mut groups = Vec::new();
        while !rest.is_zero() {
            groups.push(rest.divide(LIMB_TEN.1));
        }
        let mut text = groups.pop().unwrap_or(0).to_string();
        for group in groups.iter().rev() {
            text += &format!("{group:09}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(a: &str, b: &str) -> String {
        match (Extended::parse(a.as_bytes()), Extended::parse(b.as_bytes())) {
            (Parsed::Finite(a), Parsed::Finite(b)) => {
                a.add(b).map_or("infinite".into(), Extended::format)
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn sums_are_those_of_80_bit_floats() {
        for (a, b, expected) in [
            ("10.5", "0.1", "10.6"),
            ("0.1", "0.2", "0.3"),
            ("3.0e3", "200", "3200"),
            ("5.0e3", "2.0e2", "5200"),
            ("1", "-1", "0"),
            ("-0", "0", "0"),
            ("9223372036854775807", "1", "9223372036854775808"),
            ("1e30", "1", "1000000000000000000024696061952"),
            ("1e-17", "0", "0.00000000000000001"),
            ("1e-18", "0", "0"),
            (".5", "5.", "5.5"),
            ("+1", "1E+1", "11"),
        ] {
            assert_eq!(sum(a, b), expected, "{a} + {b}");
        }
        assert_eq!(sum("1e4932", "1e4932"), "infinite");
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for text in ["", " 1", "1 ", "1e", "e1", ".", "1.2.3", "nan", "abc", "1e5000", "--1"] {
            assert_eq!(Extended::parse(text.as_bytes()), Parsed::Invalid, "{text}");
        }
        assert_eq!(Extended::parse(b"-Inf"), Parsed::Infinite);
    }
}
