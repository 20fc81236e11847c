use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

fn shape(bucket_size: u8, max_iterations: u16, expansion: u16) -> Shape {
    Shape { bucket_size, max_iterations, expansion }
}

fn add(filter: &mut Cuckoo, item: &str) -> Result<(), Full> {
    filter.insert(item.as_bytes(), &mut Patience::default())
}

/// Dumps a filter and loads it into another one.
fn reload(filter: &Cuckoo) -> Cuckoo {
    let mut loaded = Cuckoo::from_header(&filter.header()).unwrap();
    let mut position = 1;
    while let Some((next, chunk)) = filter.chunk(position) {
        assert!(loaded.load(next, &chunk), "{position}");
        position = next;
    }
    loaded
}

#[test]
fn a_dump_is_the_one_that_redisblooms_documentation_shows() {
    let mut filter = Cuckoo::new(8, Shape::default());
    add(&mut filter, "item1").unwrap();
    let mut header = vec![1, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0];
    header.extend([0; 8]);
    header.extend([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 20, 0, 1, 0]);
    assert_eq!(filter.header()[..38], header);
    assert_eq!(filter.chunk(1), Some((9, vec![0, 0, 0, 0, 7, 0, 0, 0])));
    assert_eq!(filter.chunk(9), None);
    // There is an address in those bytes that means nothing.
    header.extend(*b"8\x9a\xe0\xd8\xc3\x7f\x00\x00");
    let mut loaded = Cuckoo::from_header(&header).unwrap();
    assert!(loaded.load(9, &[0, 0, 0, 0, 7, 0, 0, 0]));
    assert!(loaded.contains(b"item1") && !loaded.contains(b"item2"));
}

#[test]
fn it_grows_thirty_two_times_and_no_further() {
    let mut filter = Cuckoo::new(4, Shape::default());
    let added = (0..1000).take_while(|n| add(&mut filter, &n.to_string()).is_ok()).count();
    assert!((124..=128).contains(&added), "{added}");
    assert_eq!((filter.filters(), add(&mut filter, "more")), (32, Err(Full::Grown)));
    assert!((0..added).all(|n| filter.contains(n.to_string().as_bytes())));

    let mut fixed = Cuckoo::new(2, shape(1, 20, 0));
    let added: Vec<_> = (0..4).map(|_| add(&mut fixed, "1")).collect();
    assert_eq!(added, [Ok(()), Ok(()), Err(Full::Fixed), Err(Full::Fixed)]);
    assert_eq!((fixed.count(b"1"), fixed.items()), (2, 2));
}

#[test]
fn no_factor_makes_a_sub_filter_too_large() {
    let mut filter = Cuckoo::new(MAX_CAPACITY, shape(1, 1, 32768));
    assert!(filter.heap_bytes() < 1 << 16, "nothing is there before it is written");
    for _ in 0..2 {
        add(&mut filter, "same").unwrap();
    }
    assert_eq!(add(&mut filter, "same"), Err(Full::Grown));
    assert!(filter.heap_bytes() < 4 << 20);
}

#[test]
fn false_positives_are_as_rare_as_the_bucket_size_says() {
    for (bucket_size, most) in [(1, 0.0095), (2, 0.0175), (4, 0.034)] {
        let mut filter = Cuckoo::new(1 << 17, shape(bucket_size, 500, 1));
        let items = (1 << 17) / if bucket_size == 1 { 3 } else { 2 };
        (0..items).for_each(|n| add(&mut filter, &format!("in:{n}")).unwrap());
        assert_eq!(filter.filters(), 1);
        let wrong = (0..50_000).filter(|n| filter.contains(format!("out:{n}").as_bytes())).count();
        assert!((wrong as f64) < 50_000.0 * most, "{wrong} with {bucket_size}");
    }
}

#[test]
fn s5_a_command_s_moves_have_an_end() {
    let mut filter = Cuckoo::new(1 << 10, shape(1, u16::MAX, 0));
    let mut patience = Patience::default();
    let items = (0..100_000).map(|n: u32| n.to_string());
    let added = items.filter(|item| filter.insert(item.as_bytes(), &mut patience).is_ok()).count();
    assert_eq!(patience.0, 0);
    assert!((500..=1024).contains(&added), "{added}");
}

#[test]
fn s6_a_header_that_cannot_be_is_refused_and_one_that_lies_allocates_nothing() {
    let good = Cuckoo::new(1000, Shape::default()).header();
    for (at, bytes) in [
        (8, &3u64.to_le_bytes()[..]),
        (8, &0u64.to_le_bytes()),
        (8, &(1u64 << 31).to_le_bytes()),
        (8, &u64::MAX.to_le_bytes()),
        (0, &u64::MAX.to_le_bytes()),
        (24, &0u64.to_le_bytes()),
        (24, &33u64.to_le_bytes()),
        (24, &u64::MAX.to_le_bytes()),
        (32, &0u16.to_le_bytes()),
        (32, &256u16.to_le_bytes()),
        (34, &0u16.to_le_bytes()),
        (36, &3u16.to_le_bytes()),
    ] {
        let mut bad = good;
        bad[at..at + bytes.len()].copy_from_slice(bytes);
        assert!(Cuckoo::from_header(&bad).is_none(), "{at}: {bytes:?}");
    }
    for len in [0, 45, 47] {
        assert!(Cuckoo::from_header(&vec![1; len]).is_none());
    }
    let mut huge = Cuckoo::new(MAX_CAPACITY, shape(1, 1, 1)).header();
    huge[24] = 32;
    assert!(Cuckoo::from_header(&huge).unwrap().heap_bytes() < 1 << 20);
}

#[test]
fn chunks_that_do_not_fit_change_nothing() {
    let mut filter = Cuckoo::new(64, Shape::default());
    add(&mut filter, "a").unwrap();
    let before = filter.chunk(1).unwrap().1;
    for (position, len) in [(0, 1), (1, 1), (9, 9), (66, 65), (66, 0), (u64::MAX, 8), (130, 1)] {
        assert!(!filter.load(position, &vec![9; len]), "{position} {len}");
    }
    assert_eq!(filter.chunk(1).unwrap().1, before);
    assert!(filter.load(65, &[5; 64]));
    for position in [0, 65, u64::MAX] {
        assert_eq!(filter.chunk(position), None);
    }
}

#[test]
fn large_filters_travel_in_chunks() {
    let mut filter = Cuckoo::new(1 << 21, shape(3, 20, 2));
    (0..1000).for_each(|n| add(&mut filter, &n.to_string()).unwrap());
    assert_eq!(
        filter.chunk(1).map(|(next, chunk)| (next, chunk.len())),
        Some(((1 << 20) + 1, 1 << 20))
    );
    let loaded = reload(&filter);
    assert!((0..1000).all(|n| loaded.contains(n.to_string().as_bytes())));
    assert_eq!(loaded.header(), filter.header());
}

proptest! {
    /// An item that was added more often than taken out is in it, and counted at least so often,
    /// whatever else happens; its memory is what it says; a dump is the same filter.
    #[test]
    fn l8_no_item_that_was_added_is_ever_hidden(
        capacity in 1u64..200,
        bucket_size in 1u8..6,
        max_iterations in 1u16..30,
        expansion in 0u16..5,
        steps in prop::collection::vec((0u8..4, 0u16..120), 0..600),
    ) {
        let mut filter = Cuckoo::new(capacity, Shape { bucket_size, max_iterations, expansion });
        let mut model: HashMap<String, u64> = HashMap::new();
        for (kind, n) in steps {
            let item = format!("item:{n}");
            let times = model.entry(item.clone()).or_default();
            if kind < 3 {
                *times += u64::from(add(&mut filter, &item).is_ok());
            } else if *times > 0 {
                // Only what is in it: else another item's fingerprint would go.
                prop_assert!(filter.remove(item.as_bytes()));
                *times -= 1;
            }
        }
        let loaded = reload(&filter);
        for (item, times) in &model {
            prop_assert!(filter.count(item.as_bytes()) >= *times);
            prop_assert_eq!(filter.count(item.as_bytes()), loaded.count(item.as_bytes()));
            prop_assert!(*times == 0 || filter.contains(item.as_bytes()));
        }
        prop_assert_eq!(filter.items(), model.values().sum::<u64>());
        let pages: usize = filter.filters.iter().map(SubFilter::heap_bytes).sum();
        prop_assert_eq!(filter.bytes, pages);
        prop_assert_eq!(filter.clone().header(), loaded.header());
    }

    #[test]
    fn s6_no_bytes_make_loading_panic(
        header in prop::collection::vec(any::<u8>(), 46),
        chunks in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 0..100)), 0..5),
    ) {
        let mut small = header;
        // Else hardly one of them would be a filter.
        small[1..8].fill(0);
        let buckets = 1u64 << (small[8] % 40);
        small[8..16].copy_from_slice(&buckets.to_le_bytes());
        small[25..32].fill(0);
        small[24] %= 40;
        small[33] = 0;
        if let Some(mut filter) = Cuckoo::from_header(&small) {
            for (position, chunk) in &chunks {
                filter.load(*position, chunk);
                filter.load(position % 300, chunk);
            }
            filter.contains(b"x");
            filter.remove(b"x");
            let _ = add(&mut filter, "x");
            prop_assert!(filter.heap_bytes() < 64 << 20);
        }
    }
}
