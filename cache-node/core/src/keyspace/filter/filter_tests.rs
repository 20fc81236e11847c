use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

fn of(bits: u8, hashes: &HashSet<u64>) -> Filter {
    Filter::build(bits, hashes.len(), || hashes.iter().copied()).unwrap()
}

#[test]
fn bits_are_the_fewest_that_keep_the_rate() {
    for (rate_ppm, bits) in [(1000, 13), (10_000, 10), (50_000, 8), (100_000, 7)] {
        assert_eq!(fingerprint_bits(rate_ppm), bits, "{rate_ppm}");
    }
}

#[test]
fn l8_a_full_filter_hides_nothing_and_keeps_its_rate() {
    for rate_ppm in [1000, 2000, 10_000, 30_000, 100_000] {
        let bits = fingerprint_bits(rate_ppm);
        let mut filter = Filter::empty(bits, 512).unwrap();
        // To the last key that fits: what did not fit is no longer asked.
        let fitted = (0..u64::MAX).take_while(|key| filter.insert(mix(*key))).count() as u64;
        let load = fitted as f64 / f64::from(filter.buckets * WAYS);
        assert!(load > 0.93, "{load} at {bits} bits");
        // The insert that failed drove out a fingerprint; a filter in use is made anew then.
        let keys: HashSet<u64> = (0..fitted).map(mix).collect();
        let mut filter = Filter::empty(bits, 512).unwrap();
        assert!((0..fitted).all(|key| filter.insert(mix(key))));
        assert!(keys.iter().all(|hash| filter.may_contain(*hash)));
        let asked = 400_000;
        let wrong = (0..asked).filter(|i| filter.may_contain(mix(i + (1 << 40)))).count();
        let rate = wrong as f64 * 1e6 / asked as f64;
        assert!(rate <= f64::from(rate_ppm) * 1.05, "{rate} for {rate_ppm}");
    }
}

#[test]
fn a_key_costs_less_than_the_bound() {
    let (mut bytes, mut keys) = (0, 0);
    for part in 150..600u64 {
        let hashes: HashSet<u64> = (0..part).map(|i| mix(i << 32 | part)).collect();
        let filter = of(fingerprint_bits(10_000), &hashes);
        bytes += filter.heap_bytes();
        keys += part;
    }
    let cost = bytes as f64 / keys as f64;
    assert!(cost < 1.55, "{cost} bytes a key");
}

#[test]
fn the_other_bucket_of_the_other_bucket_is_the_first() {
    for words in [1, 2, 7, 100] {
        let filter = Filter::empty(10, words).unwrap();
        for i in 0..1000 {
            let (fingerprint, bucket) = filter.place(mix(i));
            assert!((1..1024).contains(&fingerprint) && bucket < filter.buckets);
            let other = filter.other(fingerprint, bucket);
            assert!(other < filter.buckets);
            assert_eq!(filter.other(fingerprint, other), bucket);
        }
    }
}

#[test]
fn keys_that_share_a_hash_more_often_than_buckets_hold_give_no_filter() {
    assert!(Filter::build(10, 9, || std::iter::repeat_n(7, 9)).is_none());
    let filter = Filter::build(10, 5, || std::iter::repeat_n(7, 5)).unwrap();
    assert!(filter.may_contain(7));
}

proptest! {
    #[test]
    fn l8_what_was_added_and_not_removed_is_never_denied(
        bits in 7..=13u8,
        steps in proptest::collection::vec((any::<bool>(), 0..400u64), 1..900),
    ) {
        let mut model: HashSet<u64> = HashSet::new();
        let mut filter = of(bits, &model);
        for (add, key) in steps {
            let hash = mix(key);
            if add && model.insert(hash) {
                if !filter.insert(hash) {
                    filter = of(bits, &model);
                }
            } else if !add && model.remove(&hash) {
                filter.remove(hash);
                if filter.is_sparse() {
                    filter = of(bits, &model);
                }
            }
            prop_assert_eq!(filter.len as usize, model.len());
        }
        for hash in &model {
            prop_assert!(filter.may_contain(*hash));
        }
    }
}
