//! BITOP: strings combined bit by bit.

use super::texts::{self, is};
use crate::keyspace::{Event, Lifetime, Locked, Value, ValueRef};
use crate::resp::Writer;

fn read<'b>(keys: &'b Locked<'_>, name: &[u8], buffer: &'b mut itoa::Buffer) -> &'b [u8] {
    keys.peek(name).and_then(|value| value.as_bytes(buffer)).unwrap_or_default()
}

/// Combines `source` into `made`, which is as long or longer; what is missing counts as zeros.
fn combine(made: &mut [u8], source: &[u8], join: impl Fn(u8, u8) -> u8) {
    let (both, rest) = made.split_at_mut(source.len().min(made.len()));
    both.iter_mut().zip(source).for_each(|(byte, other)| *byte = join(*byte, *other));
    rest.iter_mut().for_each(|byte| *byte = join(*byte, 0));
}

/// BITOP AND|OR|XOR|NOT destination key [key ...]
pub fn bitop(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let join: fn(u8, u8) -> u8 = match args[1] {
        word if is(word, "AND") => |a, b| a & b,
        word if is(word, "OR") => |a, b| a | b,
        word if is(word, "XOR") => |a, b| a ^ b,
        word if is(word, "NOT") => |a, _| !a,
        _ => return out.error(texts::SYNTAX),
    };
    if is(args[1], "NOT") && args.len() != 4 {
        return out.error("ERR BITOP NOT must be called with a single source key.");
    }
    let mut longest = 0;
    for name in &args[3..] {
        let Some(mut key) = keys.at(name) else { continue };
        match key.read().map(ValueRef::string_len) {
            Some(None) => return out.error(texts::WRONG_TYPE),
            len => longest = longest.max(len.flatten().unwrap_or(0)),
        }
    }
    let mut made = read(keys, args[3], &mut itoa::Buffer::new()).to_vec();
    made.resize(longest, 0);
    if is(args[1], "NOT") {
        combine(&mut made, &[], join);
    }
    for name in &args[4..] {
        combine(&mut made, read(keys, name, &mut itoa::Buffer::new()), join);
    }
    if let Some(mut target) = keys.at(args[2]) {
        if made.is_empty() {
            target.delete();
        } else {
            target.set(Value::Raw(Box::new(made)), Lifetime::Default);
            target.happened(Event::string("set"));
        }
    }
    out.integer(longest as i64);
}
