//! Commands that wait where there is nothing to take. Each tries once: it answers, or tells by `false`
//! that it has to wait, with nothing changed and nothing written.

use super::list_edit::{self, end, pop_first, try_move};
use super::lists::End;
use super::texts;
use super::zremove::{self, Pops, pop_lowest_or_highest, zpop_first};
use crate::keyspace::Locked;
use crate::resp::{Writer, parse_double};

const NOT_A_TIMEOUT: &str = "ERR timeout is not a float or out of range";
const TOO_LATE: &str = "ERR timeout is out of range";
const NEGATIVE: &str = "ERR timeout is negative";

/// Reads a timeout in seconds: milliseconds, 0 for one that never comes.
///
/// # Errors
/// What Redis says of one that makes no sense.
pub fn timeout_ms(arg: &[u8], now_ms: u64) -> Result<u64, &'static str> {
    let seconds = parse_double(arg).filter(|seconds| !seconds.is_nan()).ok_or(NOT_A_TIMEOUT)?;
    let ms = (seconds * 1000.0).ceil();
    if ms >= i64::MAX as f64 {
        return Err(TOO_LATE);
    }
    if ms < 0.0 {
        return Err(NEGATIVE);
    }
    let ms = ms as u64;
    match now_ms.checked_add(ms) {
        Some(end) if i64::try_from(end).is_ok() => Ok(ms),
        _ => Err(TOO_LATE),
    }
}

/// Whether the timeout makes no sense, which is the answer then.
fn refuses(arg: &[u8], keys: &Locked<'_>, out: &mut Writer<'_>) -> bool {
    let error = timeout_ms(arg, keys.now_ms()).err();
    if let Some(error) = error {
        out.error(error);
    }
    error.is_some()
}

fn pop(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>, end: End) -> bool {
    let [_, names @ .., timeout] = args else { return true };
    if refuses(timeout, keys, out) {
        return true;
    }
    list_edit::take_from_first(keys, names, end, 1, out, |list, out| {
        out.bulk(end.peek(list).unwrap_or_default());
        end.drop(list);
    })
}

/// BLPOP key [key ...] timeout
pub fn blpop(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) -> bool {
    pop(keys, args, out, End::Left)
}

/// BRPOP key [key ...] timeout
pub fn brpop(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) -> bool {
    pop(keys, args, out, End::Right)
}

/// BLMOVE source destination LEFT|RIGHT LEFT|RIGHT timeout
pub fn blmove(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) -> bool {
    let (Some(from), Some(to)) = (end(args[3]), end(args[4])) else {
        out.error(texts::SYNTAX);
        return true;
    };
    refuses(args[5], keys, out) || try_move(keys, args, out, from, to)
}

/// BRPOPLPUSH source destination timeout
pub fn brpoplpush(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) -> bool {
    refuses(args[3], keys, out) || try_move(keys, args, out, End::Right, End::Left)
}

/// BLMPOP timeout numkeys key [key ...] LEFT|RIGHT [COUNT count]
pub fn blmpop(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) -> bool {
    let Some(pops) = Pops::read(&args[1..], ["LEFT", "RIGHT"], out) else { return true };
    refuses(args[1], keys, out) || pop_first(keys, &pops, out)
}

fn zpop(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>, highest: bool) -> bool {
    let [_, names @ .., timeout] = args else { return true };
    if refuses(timeout, keys, out) {
        return true;
    }
    zremove::take_from_first(keys, names, 3, out, |key, out| {
        pop_lowest_or_highest(key, highest, out);
    })
}

/// BZPOPMIN key [key ...] timeout
pub fn bzpopmin(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) -> bool {
    zpop(keys, args, out, false)
}

/// BZPOPMAX key [key ...] timeout
pub fn bzpopmax(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) -> bool {
    zpop(keys, args, out, true)
}

/// BZMPOP timeout numkeys key [key ...] MIN|MAX [COUNT count]
pub fn bzmpop(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) -> bool {
    let Some(pops) = Pops::read(&args[1..], ["MIN", "MAX"], out) else { return true };
    refuses(args[1], keys, out) || zpop_first(keys, &pops, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_valkey_reads_them() {
        let now_ms = 1_700_000_000_000;
        for (text, wanted) in [
            ("0", Ok(0)),
            ("-0.0", Ok(0)),
            ("-0.0001", Ok(0)),
            ("0.0001", Ok(1)),
            ("0.5", Ok(500)),
            ("1e3", Ok(1_000_000)),
            ("9223372036854775", Err(TOO_LATE)),
            ("1e40", Err(TOO_LATE)),
            ("inf", Err(TOO_LATE)),
            ("-1", Err(NEGATIVE)),
            ("-inf", Err(NEGATIVE)),
            ("nan", Err(NOT_A_TIMEOUT)),
            ("", Err(NOT_A_TIMEOUT)),
            ("1s", Err(NOT_A_TIMEOUT)),
        ] {
            assert_eq!(timeout_ms(text.as_bytes(), now_ms), wanted, "{text}");
        }
    }
}
