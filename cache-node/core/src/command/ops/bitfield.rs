//! BITFIELD: integers of any width at any bit of a string.

use super::bits::{change, is_string, offset};
use super::texts::{self, is};
use crate::keyspace::Access;
use crate::resp::{Writer, parse_i64};

const TYPE: &str = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not \
                    supported but i64 is.";

/// What happens to what does not fit.
#[derive(Debug, Clone, Copy)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

/// Where an integer is and what it looks like.
#[derive(Debug, Clone, Copy)]
struct Field {
    signed: bool,
    /// 1 to 64.
    width: u32,
    /// In bits.
    offset: u64,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Get(Field),
    Set(Field, i64, Overflow),
    Add(Field, i64, Overflow),
}

impl Field {
    /// Reads `i16 100` or `u8 #3`; `None` after answering with an error.
    fn read(kind: &[u8], at: &[u8], out: &mut Writer<'_>) -> Option<Self> {
        let (signed, digits) = match kind {
            [b'i', digits @ ..] => (true, digits),
            [b'u', digits @ ..] => (false, digits),
            _ => {
                out.error(TYPE);
                return None;
            }
        };
        let digits = &digits[..memchr::memchr(0, digits).unwrap_or(digits.len())];
        let most = if signed { 64 } else { 63 };
        let width = parse_i64(digits).filter(|width| (1..=most).contains(width));
        let Some(width) = width.and_then(|width| u32::try_from(width).ok()) else {
            out.error(TYPE);
            return None;
        };
        Some(Self { signed, width, offset: offset(at, Some(width), out)? })
    }

    /// The byte behind its last.
    fn end(self) -> usize {
        ((self.offset + u64::from(self.width) - 1) / 8 + 1) as usize
    }

    /// The nine bytes that it can touch, as one number, and how far it is from their end.
    fn window(self, bytes: &[u8]) -> (u128, u32) {
        let first = (self.offset / 8) as usize;
        let window = (first..first + 9).fold(0u128, |window, at| {
            window << 8 | u128::from(bytes.get(at).copied().unwrap_or(0))
        });
        (window, 72 - (self.offset % 8) as u32 - self.width)
    }

    fn mask(self) -> u128 {
        (1u128 << self.width) - 1
    }

    fn get(self, bytes: &[u8]) -> i128 {
        let (window, shift) = self.window(bytes);
        self.wrap((window >> shift & self.mask()) as i128)
    }

    fn put(self, bytes: &mut [u8], value: i128) {
        let (window, shift) = self.window(bytes);
        let window = window & !(self.mask() << shift) | (value as u128 & self.mask()) << shift;
        let first = (self.offset / 8) as usize;
        let new = window.to_be_bytes();
        if let Some(target) = bytes.get_mut(first..) {
            // The last nine of sixteen bytes are the window.
            target.iter_mut().zip(&new[7..]).for_each(|(byte, new)| *byte = *new);
        }
    }

    /// The integer that the lowest bits of `value` are.
    fn wrap(self, value: i128) -> i128 {
        let bits = value as u128 & self.mask();
        let negative = self.signed && bits >> (self.width - 1) & 1 == 1;
        if negative { bits as i128 - (1i128 << self.width) } else { bits as i128 }
    }

    /// The sum as it can be kept; `None` if it cannot.
    fn fit(self, value: i128, delta: i64, overflow: Overflow) -> Option<i128> {
        let (least, most) = if self.signed {
            (-(1i128 << (self.width - 1)), (1i128 << (self.width - 1)) - 1)
        } else {
            (0, self.mask() as i128)
        };
        let sum = value + i128::from(delta);
        let up = if self.signed {
            // A number far below the least one counts as above the most, as in Redis, where the
            // room that is left wraps.
            let room = (most as i64).wrapping_sub(value as i64);
            value > most
                || self.width != 64 && delta > room
                || value >= 0 && delta > 0 && delta > room
        } else {
            sum > most
        };
        if !up && sum >= least {
            return Some(sum);
        }
        match overflow {
            Overflow::Wrap => Some(self.wrap(sum)),
            Overflow::Saturate => Some(if up { most } else { least }),
            Overflow::Fail => None,
        }
    }
}

impl Step {
    /// Carries it out on bytes that are long enough, unless it only reads: the answer.
    fn run(self, bytes: &mut [u8]) -> Option<i128> {
        match self {
            Self::Get(field) => Some(field.get(bytes)),
            Self::Set(field, value, overflow) => {
                // A negative number is a very large one without sign.
                let value = if field.signed { value.into() } else { (value as u64).into() };
                let value = field.fit(value, 0, overflow)?;
                let before = field.get(bytes);
                field.put(bytes, value);
                Some(before)
            }
            Self::Add(field, delta, overflow) => {
                let value = field.fit(field.get(bytes), delta, overflow)?;
                field.put(bytes, value);
                Some(value)
            }
        }
    }
}

/// Reads all steps; `None` after answering with an error.
fn read(mut rest: &[&[u8]], out: &mut Writer<'_>) -> Option<Vec<Step>> {
    let (mut steps, mut overflow) = (Vec::new(), Overflow::Wrap);
    while let [word, tail @ ..] = rest {
        match tail {
            [kind, at, tail @ ..] if is(word, "GET") => {
                steps.push(Step::Get(Field::read(kind, at, out)?));
                rest = tail;
            }
            [kind, at, value, tail @ ..] if is(word, "SET") || is(word, "INCRBY") => {
                let field = Field::read(kind, at, out)?;
                let value = texts::integer(value, out)?;
                steps.push(if is(word, "SET") {
                    Step::Set(field, value, overflow)
                } else {
                    Step::Add(field, value, overflow)
                });
                rest = tail;
            }
            [kind, tail @ ..] if is(word, "OVERFLOW") => {
                overflow = match () {
                    () if is(kind, "WRAP") => Overflow::Wrap,
                    () if is(kind, "SAT") => Overflow::Saturate,
                    () if is(kind, "FAIL") => Overflow::Fail,
                    () => {
                        out.error("ERR Invalid OVERFLOW type specified");
                        return None;
                    }
                };
                rest = tail;
            }
            _ => {
                out.error(texts::SYNTAX);
                return None;
            }
        }
    }
    Some(steps)
}

fn answer(values: impl ExactSizeIterator<Item = Option<i128>>, out: &mut Writer<'_>) {
    out.array(values.len());
    values.for_each(|value| match value {
        // Unsigned integers have 63 bits at most.
        Some(value) => out.integer(value as i64),
        None => out.null(),
    });
}

fn run(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>, only_read: bool) {
    let Some(steps) = read(&args[2..], out) else { return };
    let written = steps.iter().filter_map(|step| match step {
        Step::Get(_) => None,
        Step::Set(field, ..) | Step::Add(field, ..) => Some(field.end()),
    });
    let Some(end) = written.max() else {
        let mut buffer = itoa::Buffer::new();
        let bytes = match key.read() {
            None => Some(&[][..]),
            Some(value) => value.as_bytes(&mut buffer),
        };
        let Some(bytes) = bytes else { return out.error(texts::WRONG_TYPE) };
        let fields = steps.iter().map(|step| match step {
            Step::Get(field) | Step::Set(field, ..) | Step::Add(field, ..) => field,
        });
        return answer(fields.map(|field| Some(field.get(bytes))), out);
    };
    if only_read {
        return out.error("ERR BITFIELD_RO only supports the GET subcommand");
    }
    if !is_string(key, out) {
        return;
    }
    let values = change(key, end, |bytes, grew| {
        let mut changed = false;
        let mut run = |step: &Step| {
            let (Step::Set(field, ..) | Step::Add(field, ..)) = step else {
                return step.run(bytes);
            };
            let before = field.get(bytes);
            let value = step.run(bytes);
            changed |= value.is_some() && (grew || field.get(bytes) != before);
            value
        };
        let values: Vec<_> = steps.iter().map(&mut run).collect();
        (values, changed)
    });
    answer(values.unwrap_or_default().into_iter(), out);
}

/// BITFIELD key [GET type offset | [OVERFLOW WRAP|SAT|FAIL] SET|INCRBY type offset value ...]
pub fn bitfield(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    run(key, args, out, false);
}

/// BITFIELD_RO key [GET type offset ...]
pub fn bitfield_ro(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    run(key, args, out, true);
}
