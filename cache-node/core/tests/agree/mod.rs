//! When two replies mean the same although their bytes differ.

use crate::TOLERANCE_MS;
use crate::generate::Command;
use hypercache_core::resp::Reply;

/// Commands whose replies have no order.
const UNORDERED: &[&str] = &["keys", "smembers", "sinter", "sunion", "sdiff", "hkeys", "hvals"];

/// The elements in groups of `width`, in an order of their own.
fn sorted(reply: &Reply, width: usize) -> Vec<String> {
    let mut groups: Vec<String> = match reply {
        Reply::Array(parts) | Reply::Set(parts) => {
            parts.chunks(width).map(|group| format!("{group:?}")).collect()
        }
        Reply::Map(pairs) => pairs.iter().map(|pair| format!("{pair:?}")).collect(),
        other => vec![format!("{other:?}")],
    };
    groups.sort();
    groups
}

fn number(reply: &Reply) -> Option<f64> {
    match reply {
        Reply::Bulk(text) => std::str::from_utf8(text).ok()?.parse().ok(),
        Reply::Double(value) => Some(*value),
        _ => None,
    }
}

/// Whether doubles have the same values; they are printed shorter than by Redis 7.0.
fn same_numbers(ours: &Reply, theirs: &Reply) -> bool {
    match (ours, theirs) {
        (Reply::Array(ours), Reply::Array(theirs)) => {
            ours.len() == theirs.len()
                && ours.iter().zip(theirs).all(|(ours, theirs)| same_numbers(ours, theirs))
        }
        _ if ours == theirs => true,
        _ => match (number(ours), number(theirs)) {
            (Some(ours), Some(theirs)) => ours == theirs,
            _ => false,
        },
    }
}

/// Whole scans have the same members; parts cannot be compared.
fn same_scan(ours: &Reply, theirs: &Reply, width: usize) -> bool {
    let parts = |reply: &Reply| match reply {
        Reply::Array(parts) => match parts.as_slice() {
            [Reply::Bulk(next), found @ Reply::Array(_)] => Some((next.clone(), found.clone())),
            _ => None,
        },
        _ => None,
    };
    let (Some((next, ours)), Some((other, theirs))) = (parts(ours), parts(theirs)) else {
        return ours == theirs;
    };
    if next != b"0" || other != b"0" {
        return true;
    }
    let pairs = |reply: &Reply| -> Vec<(Reply, Option<String>)> {
        let Reply::Array(parts) = reply else { return Vec::new() };
        let mut pairs: Vec<_> = parts
            .chunks(width)
            .map(|pair| {
                let value = pair.get(1).map(|value| match number(value) {
                    Some(number) => number.to_string(),
                    None => format!("{value:?}"),
                });
                (pair[0].clone(), value)
            })
            .collect();
        pairs.sort_by_key(|pair| format!("{pair:?}"));
        pairs
    };
    pairs(&ours) == pairs(&theirs)
}

/// SORT compares whole strings here, and up to their first NUL in Redis: equal ones are in any order,
/// and it is open which of them are within a limit.
fn same_up_to_nul(ours: &Reply, theirs: &Reply) -> bool {
    let (Reply::Array(a), Reply::Array(b)) = (ours, theirs) else { return false };
    let cut = |reply: &Reply| match reply {
        Reply::Bulk(text) => text.split(|byte| *byte == 0).next().map(<[u8]>::to_vec),
        _ => None,
    };
    a.iter().map(cut).eq(b.iter().map(cut))
}

/// What a reply is like without what it says.
fn shape(reply: &Reply) -> String {
    match reply {
        Reply::Bulk(_) | Reply::Double(_) => "value".into(),
        Reply::Array(parts) => {
            format!("array of {:?}", parts.iter().map(shape).collect::<Vec<_>>())
        }
        Reply::Set(parts) => format!("set of {}", parts.len()),
        other => format!("{other:?}"),
    }
}

/// Whether we refused a sketch whose bytes, changed by other commands, end within a run; Redis reads and
/// writes beyond the string's end there. What is left is not the same on both sides.
pub fn is_cut_sketch(command: &Command, ours: &[u8], theirs: &[u8]) -> bool {
    command.name.starts_with("pf")
        && ours == b"-INVALIDOBJ Corrupted HLL object detected\r\n"
        && !theirs.starts_with(b"-")
}

/// Whether the two answers mean the same.
pub fn agree(command: &Command, ours: &[u8], theirs: &[u8]) -> bool {
    if ours == theirs || is_cut_sketch(command, ours, theirs) {
        return true;
    }
    let parse = |bytes: &[u8]| Reply::parse(bytes).unwrap().map(|(reply, _)| reply);
    match (command.name.as_str(), parse(ours), parse(theirs)) {
        (name, Some(ours), Some(theirs)) if UNORDERED.contains(&name) => {
            sorted(&ours, 1) == sorted(&theirs, 1)
        }
        // A table's fields have no order; a map's are pairs.
        ("hgetall", Some(ours), Some(theirs)) => sorted(&ours, 2) == sorted(&theirs, 2),
        (name, Some(ours), Some(theirs)) if name.ends_with("scan") && name != "scan" => {
            same_scan(&ours, &theirs, if name == "sscan" { 1 } else { 2 })
        }
        ("spop" | "srandmember" | "hrandfield" | "zrandmember", Some(ours), Some(theirs)) => {
            shape(&ours) == shape(&theirs)
        }
        // A set that is not sorted has no order.
        ("sort" | "sort_ro", Some(ours), Some(theirs)) => {
            let by = command.args.iter().any(|arg| arg.eq_ignore_ascii_case(b"by"));
            let shapes = |reply: &Reply| match reply {
                Reply::Array(parts) => {
                    let mut shapes: Vec<String> = parts.iter().map(shape).collect();
                    shapes.sort();
                    shapes
                }
                other => vec![shape(other)],
            };
            by && shapes(&ours) == shapes(&theirs) || same_up_to_nul(&ours, &theirs)
        }
        // Which of members with different scores are within a range of members is not specified, and
        // with Redis a matter of chance, as its skip lists are.
        (
            "zrange" | "zrangebylex" | "zrevrangebylex" | "zlexcount",
            Some(Reply::Array(_) | Reply::Integer(_)),
            Some(Reply::Array(_) | Reply::Integer(_)),
        ) if command.is_by_lex() && !command.args[1].starts_with(b"lex") => true,
        (name, Some(ours), Some(theirs)) if name.starts_with('z') => same_numbers(&ours, &theirs),
        // As in Valkey, arguments are looked at before the key, and BITCOUNT's end may be left out.
        ("bitcount" | "bitpos" | "getex", Some(Reply::Error(_)), Some(_)) => true,
        ("bitcount", Some(Reply::Integer(_)), Some(Reply::Error(text))) => {
            command.args.len() == 3 && text == "ERR syntax error"
        }
        // Our texts are UTF-8, whatever a client sent.
        (_, Some(Reply::Error(ours)), Some(Reply::Error(theirs))) => ours == theirs,
        // Idle times are in seconds; Redis shares small integers, counts that, and tells how long
        // the shared one was idle.
        ("object", Some(Reply::Integer(ours)), Some(Reply::Integer(theirs))) => ours <= theirs + 5,
        // Ours are cleaned up before; theirs may still hold a few that ended when they were set.
        ("dbsize", Some(Reply::Integer(ours)), Some(Reply::Integer(theirs))) => {
            (ours..ours + 5).contains(&theirs)
        }
        ("randomkey", Some(Reply::Bulk(_)), Some(Reply::Bulk(_))) => true,
        (
            "ttl" | "pttl" | "expiretime" | "pexpiretime",
            Some(Reply::Integer(ours)),
            Some(Reply::Integer(theirs)),
        ) => ours > 0 && theirs > 0 && (ours - theirs).abs() <= TOLERANCE_MS,
        _ => false,
    }
}
