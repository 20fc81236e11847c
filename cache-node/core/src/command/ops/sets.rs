//! Sets: their members.

use super::typed::{edit, edit_typed, find, read, upsert};
use crate::keyspace::{Access, Event, Locked, Set};
use crate::resp::Writer;

/// SADD key member [member ...]
pub fn sadd(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let hasher = key.hasher();
    let added = upsert(key, out, Event::set("sadd"), |set: &mut Set| {
        let added = args[2..].iter().filter(|member| set.insert(hasher, member)).count();
        (added, added > 0)
    });
    if let Some(added) = added {
        out.integer(added as i64);
    }
}

/// SREM key member [member ...]
pub fn srem(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let hasher = key.hasher();
    let removed = edit_typed(key, out, Event::set("srem"), |set: &mut Set| {
        let removed = args[2..].iter().filter(|member| set.remove(hasher, member)).count();
        (removed, removed > 0)
    });
    if let Some(removed) = removed {
        out.integer(removed.unwrap_or(0) as i64);
    }
}

/// SISMEMBER key member
pub fn sismember(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let hasher = key.hasher();
    let Some(found) = read::<Set>(key, out) else { return };
    out.integer(i64::from(found.is_some_and(|set| set.contains(hasher, args[2]))));
}

/// SMISMEMBER key member [member ...]
pub fn smismember(key: &mut Access<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let hasher = key.hasher();
    let Some(found) = read::<Set>(key, out) else { return };
    out.array(args.len() - 2);
    for member in &args[2..] {
        out.integer(i64::from(found.is_some_and(|set| set.contains(hasher, member))));
    }
}

/// SMEMBERS key
pub fn smembers(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    let Some(found) = read::<Set>(key, out) else { return };
    out.set(found.map_or(0, Set::len));
    if let Some(set) = found {
        set.visit(|member| out.bulk(member));
    }
}

/// SCARD key
pub fn scard(key: &mut Access<'_>, _: &[&[u8]], out: &mut Writer<'_>) {
    if let Some(found) = read::<Set>(key, out) {
        out.integer(found.map_or(0, Set::len) as i64);
    }
}

/// SMOVE source destination member
pub fn smove(keys: &mut Locked<'_>, args: &[&[u8]], out: &mut Writer<'_>) {
    let (source, target, member) = (args[1], args[2], args[3]);
    let present = {
        let Some(mut key) = keys.at(source) else { return out.integer(0) };
        let hasher = key.hasher();
        match find::<Set>(&mut key, out) {
            None => return,
            Some(None) => return out.integer(0),
            Some(Some(set)) => set.contains(hasher, member),
        }
    };
    let Some(mut to) = keys.at(target) else { return out.integer(0) };
    if find::<Set>(&mut to, out).is_none() {
        return;
    }
    if present && source != target {
        let hasher = keys.hasher().clone();
        if let Some(mut from) = keys.at(source) {
            from.log_as(&[b"SREM", source, member]);
            edit(&mut from, Event::set("srem"), |set: &mut Set| set.remove(&hasher, member));
        }
        if let Some(mut to) = keys.at(target) {
            to.log_as(&[b"SADD", target, member]);
            upsert(&mut to, out, Event::set("sadd"), |set: &mut Set| {
                let added = set.insert(&hasher, member);
                (added, added)
            });
        }
    }
    out.integer(i64::from(present));
}
