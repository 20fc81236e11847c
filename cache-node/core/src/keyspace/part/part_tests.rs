use super::*;
use crate::keyspace::hash::mix;
use crate::keyspace::values::List;
use std::collections::BTreeMap;

/// What the model knows of a key.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    value: Vec<u8>,
    encoding: &'static str,
    expires_at_ms: u64,
    usage: Usage,
}

const NOW: u64 = 1_700_000_000_000;

fn key(number: u64) -> Vec<u8> {
    match number % 50 {
        0 => [b"long:".to_vec(), vec![b'k'; 600], number.to_string().into_bytes()].concat(),
        1 => number.to_string().into_bytes(),
        _ => format!("key:{number:012}").into_bytes(),
    }
}

fn value(random: u64) -> (Value, Vec<u8>) {
    let len = [3, 10, 64, 64, 64, 200, 900, 1500][random as usize % 8] + (random >> 8) as usize % 9;
    let text = vec![b'a' + (random >> 16) as u8 % 26; len];
    match random >> 32 & 15 {
        0 => (Value::Int(random as i64), (random as i64).to_string().into_bytes()),
        1 => (Value::Int(random as i64 % 100), (random as i64 % 100).to_string().into_bytes()),
        2 => (Value::Raw(Box::new(text.clone())), text),
        3 => {
            let mut list = Box::<List>::default();
            list.push_back(&text);
            (Value::List(list), text)
        }
        _ => (Value::plain(&text), text),
    }
}

fn content(entry: &Entry<'_>) -> Vec<u8> {
    match entry.value.as_list() {
        Some(list) => list.get(0).unwrap_or_default().to_vec(),
        None => entry.value.as_bytes(&mut itoa::Buffer::new()).unwrap().to_vec(),
    }
}

fn known(entry: &Entry<'_>) -> Known {
    Known {
        value: content(entry),
        encoding: entry.value.encoding(),
        expires_at_ms: entry.expires_at_ms,
        usage: entry.usage,
    }
}

fn ends_at(random: u64) -> u64 {
    match random % 8 {
        0..4 => 0,
        4..6 => NOW + random % 1_000_000,
        6 => NOW + random % 100_000_000_000,
        _ => random,
    }
}

#[test]
fn a_part_does_what_a_map_does_narrow_and_wide() {
    for wide in [false, true] {
        for seed in 0..12u64 {
            let hasher = KeyHasher::new(seed);
            let mut part = Part::default();
            if wide {
                part.widen(&hasher);
            }
            let mut model: BTreeMap<Vec<u8>, Known> = BTreeMap::new();
            let mut random = mix(seed);
            for step in 0..6000u64 {
                random = mix(random);
                // It fills and empties in turn.
                let fills = step / 1000 % 2 == 0;
                let key = key(random % [40, 300, 1200][seed as usize % 3]);
                let hash = hasher.hash(&key);
                let place = part.find(hash, &key);
                assert_eq!(place.is_some(), model.contains_key(&key));
                let (new, text) = value(mix(random ^ 1));
                let encoding = new.encoding();
                let expires_at_ms = ends_at(mix(random ^ 2));
                let usage =
                    Usage::unpack(random as u32, random & 1 << 40 != 0, random & 1 << 41 != 0);
                let has_room = part.has_room() || part.squeeze() && part.has_room();
                match (place, mix(random ^ 3) % 8) {
                    (None, _) if fills && has_room => {
                        part.insert(&hasher, hash, &key, New::Value(new), expires_at_ms, usage);
                        model.insert(key, Known { value: text, encoding, expires_at_ms, usage });
                    }
                    (Some(_), 0..2) if has_room => {
                        let at = part.find(hash, &key).unwrap();
                        part.replace(at, New::Value(new), usage, Some(expires_at_ms));
                        model.insert(key, Known { value: text, encoding, expires_at_ms, usage });
                    }
                    (Some(_), 2) if has_room => {
                        let at = part.find(hash, &key).unwrap();
                        part.set_expiry(at, expires_at_ms);
                        model.get_mut(&key).unwrap().expires_at_ms = expires_at_ms;
                    }
                    (Some(at), 3) => {
                        part.set_usage(at, usage);
                        model.get_mut(&key).unwrap().usage = usage;
                    }
                    (Some(at), 4) => {
                        let known = model.get_mut(&key).unwrap();
                        let changed = part.change_object(at, |value| *value = Value::plain(&text));
                        if changed.is_some() {
                            let encoding = Value::plain(&text).encoding();
                            (known.value, known.encoding) = (text, encoding);
                        }
                    }
                    (Some(at), _) if !fills || !has_room => {
                        part.remove(&hasher, hash, at);
                        model.remove(&key);
                    }
                    _ => {}
                }
                assert_eq!(part.len(), model.len());
                if step % 500 == 0 || model.len() < 3 {
                    let mut seen = BTreeMap::new();
                    part.visit(|entry| _ = seen.insert(entry.key.to_vec(), known(&entry)));
                    assert_eq!(seen, model, "seed {seed} step {step}");
                    let (mut at, mut count) = (0, 0);
                    while let Some((place, entry)) = part.next(at) {
                        assert_eq!(model.get(entry.key), Some(&known(&entry)));
                        (at, count) = (place + 1, count + 1);
                    }
                    assert_eq!(count, model.len());
                }
                let holes = part.pages.dead_bytes();
                assert!(holes <= MIN_HOLES_BYTES || holes * 8 <= part.pages.used_bytes());
            }
            let keys: Vec<Vec<u8>> = model.keys().cloned().collect();
            for key in keys {
                let hash = hasher.hash(&key);
                let at = part.find(hash, &key).unwrap();
                part.remove(&hasher, hash, at);
            }
            assert_eq!((part.len(), part.heap_bytes()), (0, 0));
        }
    }
}

#[test]
fn a_key_costs_few_bytes_beyond_itself() {
    let hasher = KeyHasher::new(1);
    for (ends, most) in [(0, 15.0), (NOW + 60_000, 19.0)] {
        let mut sum = 0.0;
        for count in 250..350u64 {
            let mut part = Part::default();
            for i in 0..count {
                let key = format!("key:{i:012}").into_bytes();
                let value = New::Str(&[b'v'; 64]);
                part.insert(&hasher, hasher.hash(&key), &key, value, ends, Usage::default());
            }
            sum += part.heap_bytes() as f64 / count as f64 - 80.0;
        }
        assert!(sum / 100.0 < most, "{}", sum / 100.0);
    }
}

#[test]
fn near_lifetimes_stay_near_however_long_a_part_lives() {
    let hasher = KeyHasher::new(1);
    let mut part = Part::default();
    let month_ms = 30 * 24 * 3600 * 1000;
    for month in 0..24u64 {
        let now_ms = NOW + month * month_ms;
        for i in 0..50u64 {
            let key = format!("key:{i}").into_bytes();
            let hash = hasher.hash(&key);
            if let Some(at) = part.find(hash, &key) {
                part.remove(&hasher, hash, at);
            }
            let value = New::Str(&[b'v'; 64]);
            part.insert(&hasher, hash, &key, value, now_ms + i, Usage::default());
        }
        part.visit(|entry| assert!((now_ms..now_ms + 50).contains(&entry.expires_at_ms)));
    }
    let far = |part: &Part| {
        let mut far = 0;
        part.pages.visit(|_, bytes| {
            far += usize::from(matches!(Head::read(bytes).unwrap().ends(), Ends::Far(_)));
        });
        far
    };
    assert!(far(&part) < 50);
}
