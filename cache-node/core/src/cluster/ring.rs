//! The ring: from members, weights and zones to an ordered owner list per slot.
//!
//! Consistent hashing with virtual nodes (Karger et al. 1997) and bounded loads (Mirrokni, Thorup
//! and Zadimoghaddam 2018: a member that is full is passed over). Members stand on the ring by
//! their *names*, so that one that lost its disk takes its old place again. Slots lie on it in
//! their own order, so that what a member owns is few runs and `CLUSTER SLOTS` stays short.

use super::{Assignment, Member, MemberId, Owners, SLOTS, Slot};
use sha1::{Digest, Sha1};

/// Points on the ring for each unit of weight.
const POINTS_PER_WEIGHT: u32 = 40;

/// How far over its fair share a member may go, in hundredths.
const OVERLOAD_PERCENT: u64 = 5;

struct Seat<'a> {
    member: &'a Member,
    weight: u64,
}

/// The ring of some members.
pub struct Ring<'a> {
    seats: Vec<Seat<'a>>,
    /// Sorted points: where on the ring, whose seat.
    points: Vec<(u64, usize)>,
}

impl<'a> Ring<'a> {
    /// The ring of these members. Their order does not matter.
    pub fn new(members: impl IntoIterator<Item = &'a Member>) -> Self {
        let mut seats: Vec<Seat<'a>> = members
            .into_iter()
            .map(|member| Seat { member, weight: u64::from(member.weight.max(1)) })
            .collect();
        seats.sort_by(|a, b| (&a.member.name, a.member.id).cmp(&(&b.member.name, b.member.id)));
        let mut points = Vec::new();
        for (index, seat) in seats.iter().enumerate() {
            let count = POINTS_PER_WEIGHT.saturating_mul(seat.weight.min(100) as u32);
            points.extend((0..count).map(|n| (point(&seat.member.name, n), index)));
        }
        points.sort_unstable();
        Self { seats, points }
    }

    /// The most slots that a member may be the primary of.
    pub fn bound(&self, member: MemberId) -> u32 {
        let total: u64 = self.seats.iter().map(|seat| seat.weight).sum();
        self.seats
            .iter()
            .find(|seat| seat.member.id == member)
            .map_or(0, |seat| bound(seat.weight, total))
    }

    /// Gives every slot `replicas` owners (at least one, as far as there are members), the
    /// primary first, in different zones as far as there are zones.
    pub fn assign(&self, epoch: u64, replicas: usize) -> Assignment {
        if self.seats.is_empty() {
            return Assignment::from_lists(epoch, []);
        }
        let wanted = replicas.clamp(1, self.seats.len());
        let total: u64 = self.seats.iter().map(|seat| seat.weight).sum();
        // One bound for each rank, so that replicas are spread as evenly as primaries.
        let mut room: Vec<Vec<u32>> =
            vec![self.seats.iter().map(|seat| bound(seat.weight, total)).collect(); wanted];
        let lists = (0..SLOTS).map(|slot| self.owners(slot, wanted, &mut room));
        Assignment::from_lists(epoch, lists)
    }

    fn owners(&self, slot: Slot, wanted: usize, room: &mut [Vec<u32>]) -> Owners {
        let mut chosen: Vec<usize> = Vec::with_capacity(wanted);
        for room in room.iter_mut() {
            // The first that fits of: a new zone with room, a new zone, any with room, anybody.
            // The bound is strict for primaries; for replicas, surviving a zone goes before it.
            let new_zone = |seat: usize| {
                let zone = &self.seats[seat].member.zone;
                zone.is_none() || chosen.iter().all(|c| self.seats[*c].member.zone != *zone)
            };
            let free = || self.seats_from(slot).filter(|seat| !chosen.contains(seat));
            let next = free()
                .find(|s| room[*s] > 0 && new_zone(*s))
                .or_else(|| free().find(|s| !chosen.is_empty() && new_zone(*s)))
                .or_else(|| free().find(|s| room[*s] > 0))
                .or_else(|| free().next());
            let Some(seat) = next else { break };
            room[seat] = room[seat].saturating_sub(1);
            chosen.push(seat);
        }
        chosen.into_iter().map(|seat| self.seats[seat].member.id).collect()
    }

    /// The members from a slot's place on, once around; some more than once.
    pub(super) fn walk(&self, slot: Slot) -> impl Iterator<Item = MemberId> + '_ {
        self.seats_from(slot).map(|seat| self.seats[seat].member.id)
    }

    /// The seats from a slot's place on, once around.
    fn seats_from(&self, slot: Slot) -> impl Iterator<Item = usize> + '_ {
        let place = u64::from(slot) << 50; // 2^14 slots over 2^64 places
        let start = self.points.partition_point(|(at, _)| *at < place);
        self.points[start..].iter().chain(&self.points[..start]).map(|(_, seat)| *seat)
    }
}

fn bound(weight: u64, total: u64) -> u32 {
    let fair_in_percent = u64::from(SLOTS) * weight * (100 + OVERLOAD_PERCENT);
    fair_in_percent.div_ceil(total.max(1) * 100) as u32
}

fn point(name: &str, n: u32) -> u64 {
    let digest =
        Sha1::new().chain_update(name.as_bytes()).chain_update([0]).chain_update(n.to_be_bytes());
    let bytes = digest.finalize();
    bytes.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(id: MemberId, weight: u32, zone: Option<&str>) -> Member {
        Member {
            id,
            name: format!("demo-{id}"),
            host: format!("demo-{id}.demo"),
            resp_port: 8080,
            http_port: 9080,
            gossip_port: 7946,
            zone: zone.map(str::to_owned),
            weight,
            incarnation: 0,
        }
    }

    fn moved(a: &Assignment, b: &Assignment) -> usize {
        (0..SLOTS).filter(|slot| a.primary(*slot) != b.primary(*slot)).count()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        #[test]
        fn every_slot_has_an_owner_and_nobody_has_more_than_the_bound(
            weights in prop::collection::vec(1u32..5, 1..12)
        ) {
            let members: Vec<Member> =
                weights.iter().enumerate().map(|(i, w)| member(i as u64 + 1, *w, None)).collect();
            let ring = Ring::new(&members);
            let assignment = ring.assign(1, 1);
            prop_assert_eq!(assignment.assigned(), u32::from(SLOTS));
            for (id, count) in assignment.counts() {
                prop_assert!(count <= ring.bound(id), "{} has {} over {}", id, count, ring.bound(id));
            }
        }

        #[test]
        fn the_same_members_in_any_order_make_the_same_ring(
            mut ids in prop::collection::hash_set(1u64..1000, 1..8).prop_map(Vec::from_iter)
        ) {
            let forth: Vec<Member> = ids.iter().map(|id| member(*id, 1, None)).collect();
            ids.reverse();
            let back: Vec<Member> = ids.iter().map(|id| member(*id, 1, None)).collect();
            prop_assert_eq!(Ring::new(&forth).assign(1, 2), Ring::new(&back).assign(1, 2));
        }

        #[test]
        fn one_more_member_moves_about_its_share_and_hardly_anything_else(
            n in 2u64..12, first in 1u64..500
        ) {
            let members: Vec<Member> = (first..=first + n).map(|id| member(id, 1, None)).collect();
            let before = Ring::new(&members[..members.len() - 1]).assign(1, 1);
            let after = Ring::new(&members).assign(2, 1);
            let share = usize::from(SLOTS) / members.len();
            let moves = moved(&before, &after);
            prop_assert!(moves <= share * 2 + share / 2, "{} moves for a share of {}", moves, share);
        }

        #[test]
        fn owners_of_a_slot_are_different_members_in_different_zones(
            n in 3u64..9, replicas in 2usize..4
        ) {
            let zones = ["a", "b", "c"];
            let members: Vec<Member> =
                (0..n).map(|i| member(i + 1, 1, Some(zones[i as usize % 3]))).collect();
            let assignment = Ring::new(&members).assign(1, replicas);
            let mut spread = 0;
            for slot in 0..SLOTS {
                let owners = assignment.owners(slot);
                prop_assert_eq!(owners.len(), replicas);
                let mut seen: Vec<_> = owners.iter().map(|id| (id - 1) % 3).collect();
                seen.sort_unstable();
                seen.dedup();
                spread += usize::from(seen.len() == replicas);
                let mut ids = owners.to_vec();
                ids.sort_unstable();
                ids.dedup();
                prop_assert_eq!(ids.len(), replicas);
            }
            prop_assert_eq!(spread, usize::from(SLOTS));
        }
    }

    #[test]
    fn a_member_of_twice_the_weight_has_about_twice_the_slots() {
        let members = [member(1, 1, None), member(2, 2, None), member(3, 1, None)];
        let counts = Ring::new(&members).assign(1, 1).counts();
        assert!((7300..=8602).contains(&counts[&2]), "{counts:?}");
    }

    #[test]
    fn a_member_that_lost_its_disk_takes_its_old_place() {
        let before = [member(1, 1, None), member(2, 1, None)];
        let mut after = before.clone();
        after[1].id = 99;
        let mut expected = Ring::new(&before).assign(1, 1);
        expected.update(&[(0, SLOTS - 1)], |placement| Some(placement.with_instead(2, 99)));
        assert_eq!(Ring::new(&after).assign(1, 1).runs(), expected.runs());
    }

    #[test]
    fn what_a_member_owns_is_few_runs() {
        let members: Vec<Member> = (1..=3).map(|id| member(id, 1, None)).collect();
        let runs = Ring::new(&members).assign(1, 1).runs().len();
        assert!(runs <= 140, "{runs} runs");
    }

    #[test]
    fn nobody_gets_nothing() {
        assert_eq!(Ring::new([]).assign(5, 1).assigned(), 0);
    }
}
