//! Replies of commands as a script sees them: one item of RESP at a time, borrowed.
//!
//! Source: the conversion rules of the Lua API reference of Redis 7
//! (redis.io/docs/latest/develop/interact/programmability/lua-api).

use hypercache_core::resp::{format_double, parse_i64};

/// One item of a reply.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Item<'a> {
    Integer(i64),
    Bulk(&'a [u8]),
    Status(&'a [u8]),
    Error(&'a [u8]),
    /// RESP2's null is false in Lua, RESP3's is nil.
    False,
    True,
    Nil,
    Double(f64),
    BigNumber(&'a [u8]),
    Verbatim(&'a [u8], &'a [u8]),
    /// So many items follow.
    Array(usize),
    /// So many pairs follow.
    Map(usize),
    /// So many items follow.
    Set(usize),
}

/// The bytes before the first line end.
pub fn line(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|b| *b == b'\r').unwrap_or(bytes.len());
    &bytes[..end]
}

/// Reads the item at `at` and moves `at` behind it. What is not RESP is nil: our own commands write
/// nothing else.
pub fn item<'a>(bytes: &'a [u8], at: &mut usize) -> Item<'a> {
    let Some((kind, rest)) = bytes.get(*at..).and_then(<[u8]>::split_first) else {
        return Item::Nil;
    };
    let head = line(rest);
    let body = *at + 1 + head.len() + 2;
    *at = body;
    let mut bulk = |least: usize| {
        let len = parse_i64(head).and_then(|len| usize::try_from(len).ok())?;
        let found = bytes.get(body..body.checked_add(len)?).filter(|found| found.len() >= least)?;
        *at = body + len + 2;
        Some(found)
    };
    // No more than there can be, so that no count makes a table too large.
    let count = |least_bytes: usize| {
        let count = parse_i64(head).and_then(|len| usize::try_from(len).ok())?;
        (count <= (bytes.len() - body.min(bytes.len())) / least_bytes).then_some(count)
    };
    match kind {
        b':' => parse_i64(head).map_or(Item::Nil, Item::Integer),
        b'+' => Item::Status(head),
        b'-' => Item::Error(head),
        b'$' => bulk(0).map_or(Item::False, Item::Bulk),
        b'!' => bulk(0).map_or(Item::Nil, Item::Error),
        b'*' | b'>' => count(3).map_or(Item::False, Item::Array),
        b'%' => count(6).map_or(Item::Nil, Item::Map),
        b'~' => count(3).map_or(Item::Nil, Item::Set),
        b'#' if head == b"t" => Item::True,
        b'#' => Item::False,
        b',' => {
            let number = std::str::from_utf8(head).ok().and_then(|text| text.parse().ok());
            number.map_or(Item::Nil, Item::Double)
        }
        b'(' => Item::BigNumber(head),
        b'=' => match bulk(4) {
            Some(found) => Item::Verbatim(&found[..3], &found[4..]),
            None => Item::Nil,
        },
        _ => Item::Nil,
    }
}

/// Appends a number as an argument of a command: an integer if it is one, else the shortest digits
/// that mean it.
pub fn put_number(out: &mut Vec<u8>, n: f64) {
    if n.fract() == 0.0 && n.abs() < i64::MAX as f64 {
        out.extend_from_slice(itoa::Buffer::new().format(n as i64).as_bytes());
    } else if n.is_nan() {
        out.extend_from_slice(if n.is_sign_negative() { b"-nan" } else { b"nan" });
    } else {
        out.extend_from_slice(format_double(n).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(bytes: &[u8]) -> Vec<Item<'_>> {
        let (mut at, mut found) = (0, Vec::new());
        while at < bytes.len() {
            found.push(item(bytes, &mut at));
        }
        found
    }

    #[test]
    fn every_kind_of_reply_is_read() {
        assert_eq!(
            items(b":-3\r\n$2\r\na\r\r\n$-1\r\n*-1\r\n+OK\r\n-ERR x\r\n_\r\n#t\r\n#f\r\n,1.5\r\n"),
            [
                Item::Integer(-3),
                Item::Bulk(b"a\r"),
                Item::False,
                Item::False,
                Item::Status(b"OK"),
                Item::Error(b"ERR x"),
                Item::Nil,
                Item::True,
                Item::False,
                Item::Double(1.5)
            ]
        );
        assert_eq!(
            items(b"*1\r\n:1\r\n%1\r\n:1\r\n:2\r\n=6\r\ntxt:ab\r\n(12\r\n,inf\r\n"),
            [
                Item::Array(1),
                Item::Integer(1),
                Item::Map(1),
                Item::Integer(1),
                Item::Integer(2),
                Item::Verbatim(b"txt", b"ab"),
                Item::BigNumber(b"12"),
                Item::Double(f64::INFINITY)
            ]
        );
    }

    #[test]
    fn what_is_cut_short_neither_panics_nor_counts_wildly() {
        let whole = b"*2\r\n$3\r\nabc\r\n%1\r\n=5\r\ntxt:a\r\n:1\r\n";
        for cut in 0..whole.len() {
            let (mut at, mut turns) = (0, 0);
            while at < cut && turns < 20 {
                let _ = item(&whole[..cut], &mut at);
                turns += 1;
            }
        }
        assert_eq!(item(b"*2000000000\r\n", &mut 0), Item::False);
        assert_eq!(item(b"=2\r\nab\r\n", &mut 0), Item::Nil);
    }

    #[test]
    fn numbers_become_arguments_as_in_valkey() {
        let text = |n| {
            let mut out = Vec::new();
            put_number(&mut out, n);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            [3.0, -0.5, 0.1, 1e15, 1e17, 1e300].map(text),
            ["3", "-0.5", "0.1", "1000000000000000", "100000000000000000", "1e+300"]
        );
    }
}
