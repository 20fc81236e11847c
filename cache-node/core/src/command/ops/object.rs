//! OBJECT: how a value is kept.

use super::texts;
use crate::keyspace::{Access, Entry, MAX_FREQUENCY};
use crate::resp::{Writer, parse_i64};
use crate::store::EvictionPolicy;

fn tell(
    key: &mut Access<'_>,
    out: &mut Writer<'_>,
    tell: impl FnOnce(&Entry<'_>, &mut Writer<'_>),
) {
    match key.look_silently() {
        Some(entry) => tell(&entry, out),
        None => out.null(),
    }
}

/// OBJECT ENCODING key
pub fn encoding(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    tell(key, out, |entry, out| out.bulk(entry.value.encoding().as_bytes()));
}

/// OBJECT IDLETIME key
pub fn idletime(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    let idle_ms = key.idle_ms().unwrap_or(0);
    tell(key, out, |_, out| out.integer((idle_ms / 1000) as i64));
}

/// OBJECT REFCOUNT key. Nothing is shared here, not even the small integers that Redis shares.
pub fn refcount(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    tell(key, out, |_, out| out.integer(1));
}

/// A frequency of [`crate::keyspace::MAX_FREQUENCY`] steps on the scale of Redis: 5 for a key that was
/// used once, 255 for the highest.
fn on_redis_scale(frequency: u8) -> i64 {
    match frequency {
        0 => 0,
        steps => 5 + (i64::from(steps) - 1) * 250 / (i64::from(MAX_FREQUENCY) - 1),
    }
}

/// OBJECT FREQ key
pub fn freq(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    let counts = matches!(key.eviction(), EvictionPolicy::Lfu | EvictionPolicy::WTinyLfu);
    match key.frequency() {
        None => out.null(),
        Some(frequency) if counts => out.integer(on_redis_scale(frequency)),
        Some(_) => out.error(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. \
             Please note that when switching between policies at runtime LRU and LFU data will \
             take some time to adjust.",
        ),
    }
}

/// MEMORY USAGE key [SAMPLES count]: counted to the byte, so there is nothing to take samples of.
pub fn usage(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let mut options = &args[3..];
    while let Some((option, rest)) = options.split_first() {
        let [samples, rest @ ..] = rest else { return out.error(texts::SYNTAX) };
        if !texts::is(option, "SAMPLES") {
            return out.error(texts::SYNTAX);
        }
        match parse_i64(samples) {
            None => return out.error(texts::NOT_AN_INTEGER),
            Some(0..) => options = rest,
            Some(_) => return out.error(texts::SYNTAX),
        }
    }
    tell(key, out, |entry, out| out.integer(entry.memory_bytes() as i64));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_begin_and_end_where_those_of_redis_do() {
        assert_eq!([0, 1, MAX_FREQUENCY].map(on_redis_scale), [0, 5, 255]);
    }
}
