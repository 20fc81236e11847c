use super::super::super::state::tests::member;
use super::*;
use proptest::prelude::*;

fn members(weights: &[u32], zones: &[Option<&str>]) -> Vec<Member> {
    let zones = zones.iter().cycle();
    weights
        .iter()
        .zip(zones)
        .zip(1..)
        .map(|((weight, zone), id)| Member {
            weight: *weight,
            zone: zone.map(str::to_owned),
            ..member(id)
        })
        .collect()
}

/// How many slots each member has at some places of the owner lists.
fn count(assignment: &Assignment, places: std::ops::Range<usize>) -> BTreeMap<MemberId, u32> {
    let mut counts = BTreeMap::new();
    for slot in 0..SLOTS {
        for id in assignment.owners(slot).iter().skip(places.start).take(places.len()) {
            *counts.entry(*id).or_insert(0) += 1;
        }
    }
    counts
}

fn moved(a: &Assignment, b: &Assignment) -> u32 {
    (0..SLOTS).map(|slot| u32::from(a.primary(slot) != b.primary(slot))).sum()
}

#[test]
fn the_first_target_gives_everybody_its_share_in_few_runs() {
    let made = target(&members(&[1, 1, 1], &[None]), 1, &Assignment::default());
    assert_eq!(made.counts(), [(1, 5462), (2, 5461), (3, 5461)].into());
    assert!(made.runs().len() <= 150, "{} runs", made.runs().len());
}

#[test]
fn a_member_of_twice_the_weight_has_twice_the_slots() {
    let made = target(&members(&[1, 2, 1], &[None]), 2, &Assignment::default());
    assert_eq!(count(&made, 0..1), [(1, 4096), (2, 8192), (3, 4096)].into());
}

#[test]
fn what_is_nearly_balanced_stays() {
    let three = members(&[1, 1, 1], &[None]);
    let first = target(&three, 1, &Assignment::default());
    let mut left = 150;
    let shifted = Assignment::from_lists(
        0,
        (0..SLOTS).map(|slot| {
            let owners: Owners = first.owners(slot).into();
            let shift = owners[0] == 1 && left > 0;
            left -= u32::from(shift);
            if shift { Owners::from_slice(&[2]) } else { owners }
        }),
    );
    assert_eq!(target(&three, 1, &shifted), shifted);
}

#[test]
fn slots_go_where_they_are_held_already() {
    let four = members(&[1, 1, 1, 1], &[None]);
    let first = target(&four[..3], 2, &Assignment::default());
    // Somebody has begun to bring 100 slots to the fourth.
    let begun = Assignment::from_lists(
        0,
        (0..SLOTS).map(|slot| {
            let mut owners: Owners = first.owners(slot).into();
            if slot < 100 {
                owners.push(4);
            }
            owners
        }),
    );
    let next = target(&four, 2, &begun);
    assert!((0..100).all(|slot| next.owners(slot).contains(&4)));
}

#[test]
fn one_more_owner_of_each_slot_leaves_those_that_there_are() {
    let three = members(&[1, 1, 1], &[None]);
    let one = target(&three, 1, &Assignment::default());
    let two = target(&three, 2, &one);
    assert_eq!(moved(&one, &two), 0);
    let three = target(&three, 3, &two);
    assert!((0..SLOTS).all(|slot| three.owners(slot)[..2] == *two.owners(slot)));
}

#[test]
fn what_is_wanted_stays_wanted_though_nearly_all_slots_want_an_exchange() {
    let all = members(&[1; 6], &[None]);
    let few = target(&all[..3], 3, &Assignment::default());
    let many = target(&all, 3, &few);
    assert!(target(&all, 3, &many).same_owners(&many));
    let counts = count(&many, 1..3);
    let (min, max) = (counts.values().min().unwrap(), counts.values().max().unwrap());
    assert!(f64::from(*max) <= f64::from(*min) * 1.1, "{counts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn every_slot_has_its_owners_and_everybody_its_share(
        weights in prop::collection::vec(1u32..4, 1..9), factor in 1usize..4
    ) {
        let members = members(&weights, &[None]);
        let made = target(&members, factor, &Assignment::default());
        let wanted = factor.min(members.len());
        let total: u32 = weights.iter().sum();
        for slot in 0..SLOTS {
            let owners = made.owners(slot);
            prop_assert_eq!(owners.len(), wanted);
            prop_assert!((1..wanted).all(|i| !owners[..i].contains(&owners[i])));
        }
        for (id, has) in count(&made, 0..1) {
            let share = f64::from(SLOTS) * f64::from(weights[id as usize - 1]) / f64::from(total);
            prop_assert!((f64::from(has) - share).abs() <= 1.0, "{} has {} of {}", id, has, share);
        }
    }

    #[test]
    fn members_of_one_weight_have_about_as_many_replicas(n in 2usize..9, factor in 2usize..4) {
        let made = target(&members(&vec![1; n], &[None]), factor, &Assignment::default());
        let counts = count(&made, 1..factor);
        let (min, max) = (counts.values().min().unwrap(), counts.values().max().unwrap());
        prop_assert!(f64::from(*max) <= f64::from(*min) * 1.1, "{:?}", counts);
    }

    #[test]
    fn owners_are_in_different_zones_and_loads_are_even_where_zones_are(
        per_zone in 1usize..4, factor in 2usize..4
    ) {
        let zones = [Some("a"), Some("b"), Some("c")];
        let members = members(&vec![1; per_zone * 3], &zones);
        let made = target(&members, factor, &Assignment::default());
        let zone = |id: &MemberId| (id - 1) % 3;
        for slot in 0..SLOTS {
            let mut seen: Vec<_> = made.owners(slot).iter().map(zone).collect();
            seen.sort_unstable();
            seen.dedup();
            prop_assert_eq!(seen.len(), factor);
        }
        let counts = count(&made, 1..factor);
        let (min, max) = (counts.values().min().unwrap(), counts.values().max().unwrap());
        prop_assert!(f64::from(*max) <= f64::from(*min) * 1.1, "{:?}", counts);
    }

    #[test]
    fn a_target_is_wanted_again_and_members_that_come_or_go_move_only_what_must(
        n in 1usize..7, more in 1usize..4, factor in 1usize..4
    ) {
        let all = members(&vec![1; n + more], &[None]);
        let few = target(&all[..n], factor, &Assignment::default());
        prop_assert!(target(&all[..n], factor, &few).same_owners(&few));
        let many = target(&all, factor, &few);
        prop_assert!(target(&all, factor, &many).same_owners(&many));
        let newcomers: u32 =
            count(&many, 0..1).iter().filter(|(id, _)| **id > n as u64).map(|(_, c)| c).sum();
        prop_assert_eq!(moved(&few, &many), newcomers);
        let again = target(&all[..n], factor, &many);
        prop_assert!(moved(&many, &again) <= newcomers + 8, "{}", moved(&many, &again));
    }
}
