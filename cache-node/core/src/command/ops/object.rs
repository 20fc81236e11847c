//! OBJECT: how a value is kept.

use crate::keyspace::{Access, Entry};
use crate::resp::Writer;

fn tell(key: &mut Access<'_>, out: &mut Writer<'_>, tell: impl FnOnce(&Entry<'_>, &mut Writer<'_>)) {
    match key.look() {
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

/// OBJECT FREQ key
pub fn freq(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    tell(key, out, |_, out| {
        out.error(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. \
             Please note that when switching between policies at runtime LRU and LFU data will \
             take some time to adjust.",
        );
    });
}
