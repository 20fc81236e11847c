//! Where a command runs: a pure decision from the command's keys and the assignment in force.

use hypercache_core::cluster::{MemberId, Slot, slot_of};
use hypercache_core::command::{Run, Spec, Spread};
use hypercache_core::keyspace::scan_slot;

/// What a placement needs to know of the cluster.
pub trait Owners {
    /// The member that answers for a slot; `None` while the slot is nobody's.
    fn owner(&self, slot: Slot) -> Option<MemberId>;
    /// This member.
    fn me(&self) -> MemberId;
    /// Whether this member owns every slot.
    fn owns_all(&self) -> bool;
}

/// Where a command runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// On this member.
    Here,
    /// On that member, whole.
    There(MemberId),
    /// On several members, in parts that are merged.
    Scattered,
    /// Nowhere: it must be atomic, and its keys are in different slots.
    CrossSlot,
    /// Nowhere yet: this slot has no owner.
    Unowned(Slot),
}

/// Decides where a command runs.
#[inline]
pub fn place(owners: &impl Owners, spec: &Spec, args: &[&[u8]]) -> Place {
    if matches!(spec.spread, Spread::Here) || matches!(spec.run, Run::Shell(_)) || owners.owns_all()
    {
        return Place::Here;
    }
    match spec.spread {
        Spread::Here => Place::Here,
        Spread::SumMembers | Spread::OkMembers | Spread::ConcatMembers | Spread::AnyMember => {
            Place::Scattered
        }
        Spread::Cursor => match args.get(1).and_then(|c| std::str::from_utf8(c).ok()?.parse().ok())
        {
            Some(cursor) => member(owners, scan_slot(cursor)),
            // Not a number: the command's own check answers.
            None => Place::Here,
        },
        Spread::OneSlot => {
            let keys = spec.keys(args);
            let Some((first, rest)) = keys.split_first() else { return Place::Here };
            let slot = slot_of(first);
            if rest.iter().any(|key| slot_of(key) != slot) {
                return Place::CrossSlot;
            }
            member(owners, slot)
        }
        Spread::SumByKeys | Spread::ArrayByKeys | Spread::OkByKeys => {
            let keys = spec.keys(args);
            let Some((first, rest)) = keys.split_first() else { return Place::Here };
            let whole = member(owners, slot_of(first));
            for key in rest {
                match member(owners, slot_of(key)) {
                    unowned @ Place::Unowned(_) => return unowned,
                    other if other != whole => return Place::Scattered,
                    _ => {}
                }
            }
            whole
        }
    }
}

/// Decides where a command over one key runs.
#[inline]
pub fn place_one(owners: &impl Owners, slot: Slot) -> Place {
    if owners.owns_all() { Place::Here } else { member(owners, slot) }
}

/// Decides where commands run that are one: where all their slots are.
pub fn place_whole(owners: &impl Owners, mut slots: impl Iterator<Item = Slot>) -> Place {
    let Some(first) = slots.next().filter(|_| !owners.owns_all()) else { return Place::Here };
    if slots.any(|slot| slot != first) {
        return Place::CrossSlot;
    }
    member(owners, first)
}

#[inline]
fn member(owners: &impl Owners, slot: Slot) -> Place {
    match owners.owner(slot) {
        Some(id) if id == owners.me() => Place::Here,
        Some(id) => Place::There(id),
        None => Place::Unowned(slot),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypercache_core::command::lookup;

    /// Member 1 (this one) owns the lower half of the slots, member 2 the upper.
    struct Halves;

    impl Owners for Halves {
        fn owner(&self, slot: Slot) -> Option<MemberId> {
            match slot {
                0 => None,
                1..8192 => Some(1),
                _ => Some(2),
            }
        }
        fn me(&self) -> MemberId {
            1
        }
        fn owns_all(&self) -> bool {
            false
        }
    }

    fn placed(command: &str) -> Place {
        let args: Vec<&[u8]> = command.split(' ').map(str::as_bytes).collect();
        place(&Halves, lookup(&args).unwrap(), &args)
    }

    // Slots: a 15495, b 3300, c 7365, foo 12182.

    #[test]
    fn one_key_goes_to_its_owner() {
        assert_eq!(placed("GET b"), Place::Here);
        assert_eq!(placed("GET a"), Place::There(2));
        assert_eq!(placed("PING"), Place::Here);
    }

    #[test]
    fn what_must_be_atomic_stays_in_one_slot() {
        assert_eq!(placed("RENAME b c"), Place::CrossSlot);
        assert_eq!(placed("RENAME {a}1 {a}2"), Place::There(2));
        assert_eq!(placed("MSETNX b 1 c 2"), Place::CrossSlot);
    }

    #[test]
    fn what_can_be_split_is_split_only_when_it_must() {
        assert_eq!(placed("MGET b c"), Place::Here);
        assert_eq!(placed("DEL a foo"), Place::There(2));
        assert_eq!(placed("MGET a b"), Place::Scattered);
        assert_eq!(placed("MSET a 1 b 2"), Place::Scattered);
        assert_eq!(placed("DBSIZE"), Place::Scattered);
    }

    #[test]
    fn a_transaction_goes_whole_to_the_owner_of_its_one_slot() {
        assert_eq!(place_whole(&Halves, [].into_iter()), Place::Here);
        assert_eq!(place_whole(&Halves, [3300, 3300].into_iter()), Place::Here);
        assert_eq!(place_whole(&Halves, [15495, 15495].into_iter()), Place::There(2));
        assert_eq!(place_whole(&Halves, [3300, 7365].into_iter()), Place::CrossSlot);
        assert_eq!(place_whole(&Halves, [0].into_iter()), Place::Unowned(0));
    }

    #[test]
    fn a_cursor_names_the_member_that_goes_on() {
        assert_eq!(placed("SCAN 0"), Place::Unowned(0));
        assert_eq!(placed("SCAN x"), Place::Here);
    }
}
