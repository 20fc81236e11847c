//! What the way from where slots are to where they should be costs, told before it is gone.

use super::super::{Assignment, ClusterState, MemberId, SLOTS, Slot, slot_runs};
use std::collections::BTreeMap;

/// What there is to do, and the least that any way to the same shares would cost.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Forecast {
    /// Copies of slots that are to be brought, by who has them and who gets them.
    pub moves: Vec<Move>,
    /// How many copies that are.
    pub copies: u32,
    /// How many copies must be brought at least, for every member to own as many slots as it will.
    pub least_copies: u32,
    /// How many of the copies are under way: the member is an owner, and not in sync.
    pub under_way: u32,
    /// Slots that get another primary.
    pub primaries: u32,
    /// How many must at least, for every member to be the primary of as many slots as it will.
    pub least_primaries: u32,
    /// Copies that go when others are there.
    pub removals: u32,
    /// Every member.
    pub members: Vec<MemberForecast>,
}

/// Copies that go from one member to another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The slots' primary, which sends them.
    pub from: MemberId,
    /// Who gets them.
    pub to: MemberId,
    /// The slots.
    pub runs: Vec<(Slot, Slot)>,
    /// How many slots that are.
    pub slots: u32,
    /// How many of them are under way.
    pub under_way: u32,
}

/// What a member has, and what it will have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemberForecast {
    /// Who.
    pub member: MemberId,
    /// How many slots it is the primary of.
    pub primaries: u32,
    /// How many slots it owns, those that it is the primary of among them, in sync or not.
    pub owned: u32,
    /// How many slots it will be the primary of.
    pub target_primaries: u32,
    /// How many slots it will own.
    pub target_owned: u32,
}

/// What it takes to get from the table's assignment to `target`.
pub fn forecast(state: &ClusterState, target: &Assignment) -> Forecast {
    let mut members: BTreeMap<MemberId, MemberForecast> = BTreeMap::new();
    members.extend(state.members.keys().map(|id| (*id, MemberForecast::default())));
    // What of its copies is there, as the others are still to be brought.
    let mut held: BTreeMap<MemberId, u32> = BTreeMap::new();
    let mut moves: BTreeMap<(MemberId, MemberId), (Vec<Slot>, u32)> = BTreeMap::new();
    let mut forecast = Forecast::default();
    for slot in 0..SLOTS {
        let Some(now) = state.assignment.placement(slot) else { continue };
        let wanted = target.owners(slot);
        for (place, id) in now.owners.iter().enumerate() {
            let member = members.entry(*id).or_default();
            member.owned += 1;
            member.primaries += u32::from(place == 0);
            *held.entry(*id).or_default() += u32::from(now.is_in_sync(*id));
            forecast.removals += u32::from(!wanted.contains(id));
        }
        for (place, id) in wanted.iter().enumerate() {
            let member = members.entry(*id).or_default();
            member.target_owned += 1;
            member.target_primaries += u32::from(place == 0);
            if let Some(from) = now.primary().filter(|_| !now.is_in_sync(*id)) {
                let (slots, under_way) = moves.entry((from, *id)).or_default();
                slots.push(slot);
                *under_way += u32::from(now.owns(*id));
            }
        }
        forecast.primaries += u32::from(wanted.first() != now.owners.first());
    }
    for (id, member) in &mut members {
        member.member = *id;
        let held = held.get(id).copied().unwrap_or(0);
        forecast.least_copies += member.target_owned.saturating_sub(held);
        forecast.least_primaries += member.target_primaries.saturating_sub(member.primaries);
    }
    forecast.members = members.into_values().collect();
    forecast.moves = moves
        .into_iter()
        .map(|((from, to), (slots, under_way))| Move {
            from,
            to,
            slots: slots.len() as u32,
            runs: slot_runs(slots),
            under_way,
        })
        .collect();
    forecast.copies = forecast.moves.iter().map(|of| of.slots).sum();
    forecast.under_way = forecast.moves.iter().map(|of| of.under_way).sum();
    forecast
}

#[cfg(test)]
mod tests {
    use super::super::super::state::tests::{cluster, member};
    use super::super::super::{Act, Change, Step};
    use super::super::Planner;
    use super::*;

    /// A cluster of three, of which the third came last and owns nothing, and its target.
    fn three() -> (ClusterState, Assignment) {
        let mut state = cluster(&[1, 2]);
        state.apply(&Change::AddMember(member(3))).unwrap();
        let target = Planner::new().target(&state, |_| true).unwrap().clone();
        (state, target)
    }

    #[test]
    fn one_more_member_gets_its_share_of_each_and_no_more_than_must_moves() {
        let (state, target) = three();
        let told = forecast(&state, &target);
        assert_eq!((told.copies, told.least_copies), (5461, 5461));
        assert_eq!((told.primaries, told.least_primaries), (5461, 5461));
        assert_eq!((told.removals, told.under_way), (5461, 0));
        let pairs: Vec<_> = told.moves.iter().map(|m| (m.from, m.to, m.slots)).collect();
        assert_eq!(pairs, [(1, 3, 2730), (2, 3, 2731)]);
        let third = told.members[2];
        assert_eq!((third.member, third.owned, third.target_owned), (3, 0, 5461));
    }

    #[test]
    fn what_is_under_way_is_still_to_be_brought_and_what_is_there_is_not() {
        let (mut state, target) = three();
        let slot = (0..SLOTS).find(|slot| target.primary(*slot) == Some(3)).unwrap();
        let add = Step::new(vec![(slot, slot)], Act::AddOwner(3));
        state.apply(&Change::Place(vec![add])).unwrap();
        let told = forecast(&state, &target);
        assert_eq!((told.copies, told.least_copies, told.under_way), (5461, 5461, 1));
        let primary = state.assignment.primary(slot).unwrap();
        let epoch = state.assignment.epoch_of(slot);
        let in_sync = Act::InSync { primary, epoch, member: 3, incarnation: 0, in_sync: true };
        state.apply(&Change::Place(vec![Step::new(vec![(slot, slot)], in_sync)])).unwrap();
        let told = forecast(&state, &target);
        assert_eq!((told.copies, told.least_copies, told.under_way), (5460, 5460, 0));
        assert_eq!(told.primaries, 5461, "it is not handed over yet");
    }

    #[test]
    fn where_all_is_well_there_is_nothing_to_do() {
        let state = cluster(&[1, 2, 3]);
        let told = forecast(&state, &state.assignment);
        assert_eq!((told.copies, told.primaries, told.removals), (0, 0, 0));
        assert_eq!(told.moves, []);
    }
}
