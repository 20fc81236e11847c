//! What a world has. Some mistakes show where much happens, and others only where little else does: so there is
//! more than one.

use super::MEMBERS;
use super::leases::Clocks;
use super::stores::Stores;
use crate::choice::{Choice, Dice};
use hypercache_core::cluster::MemberId;
use hypercache_core::store::{Durability, Fsync, Mode, StorePolicy};

/// So many of the worlds with names are among those that a seed chooses from.
const CHOSEN: usize = 4;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// How many members there are, the most of them four.
    pub members: usize,
    /// In so many of a hundred steps a slot gets an owner more, or one less. Needs more members than owners.
    pub moves: usize,
    /// An owner is given up once in so many looks at it.
    pub patience: usize,
    /// A member hears nothing of the table for a while.
    pub late_tables: bool,
    /// Members that are far behind the table are given it whole.
    pub snapshots: bool,
    /// Copies become other ones, and have to be found.
    pub damage: bool,
    /// What goes one way is lost, and what goes the other way is not.
    pub one_way: bool,
    /// How clocks go, and leases by them.
    pub clocks: Clocks,
    /// Its stores.
    pub stores: Stores,
    /// Members are of an older release at first, and of this one from some moment on.
    pub upgrades: bool,
    /// Stores are on disks, and any members may be killed at once.
    pub disks: bool,
    /// Disks fail.
    pub disks_fail: bool,
}

impl Shape {
    /// Three members, each of which owns all slots.
    pub const NARROW: Self = Self {
        members: 3,
        moves: 0,
        patience: 40,
        late_tables: false,
        snapshots: false,
        damage: false,
        one_way: false,
        clocks: Clocks::None,
        stores: Stores::Even,
        upgrades: false,
        disks: false,
        disks_fail: false,
    };
    /// The same, and owners leave for little.
    pub const IMPATIENT: Self = Self { patience: 6, ..Self::NARROW };
    /// Four of which three own each slot, and all that there is.
    pub const WIDE: Self =
        Self { members: 4, moves: 2, late_tables: true, damage: true, ..Self::NARROW };
    /// Slots move all the time, and nothing is damaged.
    pub const RESTLESS: Self = Self { moves: 5, damage: false, ..Self::WIDE };
    /// The same, and the table comes whole to who is behind.
    pub const SNAPSHOTS: Self = Self { snapshots: true, ..Self::RESTLESS };
    /// What is lost one way only, and leases by time.
    pub const ONE_WAY: Self = Self { one_way: true, clocks: Clocks::Even, ..Self::NARROW };
    /// Clocks that are not even, nor right.
    pub const CLOCKS: Self = Self { clocks: Clocks::Uneven, ..Self::NARROW };

    /// Owners hold some of the stores, and slots move.
    pub const MIXED: Self = Self { stores: Stores::Mixed, moves: 1, damage: false, ..Self::WIDE };
    /// The same, and who holds what changes.
    pub const CHANGING: Self = Self { stores: Stores::Changing, ..Self::MIXED };
    /// One store is held by nobody but the primary, and slots move.
    pub const SINGLE: Self = Self { stores: Stores::Single, moves: 4, ..Self::MIXED };
    /// Slots move, and what members say of that becomes another thing meanwhile.
    pub const UPGRADING: Self = Self { upgrades: true, ..Self::RESTLESS };

    /// What is on disks, of which all may lose their power at once.
    pub const DISKS: Self = Self { disks: true, ..Self::NARROW };
    /// The same of four members, whose disks fail.
    pub const BAD_DISKS: Self =
        Self { members: 4, moves: 1, late_tables: true, disks_fail: true, ..Self::DISKS };

    /// The worlds that have names.
    pub const NAMED: [(&str, Self); 13] = [
        ("narrow", Self::NARROW),
        ("impatient", Self::IMPATIENT),
        ("wide", Self::WIDE),
        ("restless", Self::RESTLESS),
        ("one-way", Self::ONE_WAY),
        ("clocks", Self::CLOCKS),
        ("mixed", Self::MIXED),
        ("changing", Self::CHANGING),
        ("upgrading", Self::UPGRADING),
        ("disks", Self::DISKS),
        ("bad-disks", Self::BAD_DISKS),
        ("single", Self::SINGLE),
        ("snapshots", Self::SNAPSHOTS),
    ];

    /// Those that no seed chooses by itself.
    pub fn added() -> &'static [(&'static str, Self)] {
        &Self::NAMED[CHOSEN..]
    }

    /// What a seed says: one with a name, or something between.
    pub fn of(seed: u64) -> Self {
        if let Some((_, named)) = Self::NAMED[..CHOSEN].get((seed % 6) as usize) {
            return *named;
        }
        let mut dice = Dice::new(!seed);
        let members = 3 + dice.pick(2);
        let moves = if members > 3 { [0, 1, 2, 5][dice.pick(4)] } else { 0 };
        let patience = [6, 20, 40, 100][dice.pick(4)];
        let (late_tables, damage) = (dice.one(2), dice.one(2));
        Self { members, moves, patience, late_tables, damage, ..Self::NARROW }
    }

    /// The first policies of its stores.
    pub(super) fn policies(self) -> Vec<StorePolicy> {
        let mut policies = self.stores.policies();
        if self.disks {
            let kept = Durability { fsync: Fsync::Always, ..Durability::of(Mode::Aof) };
            policies.iter_mut().for_each(|policy| policy.durability = kept.clone());
        }
        policies
    }

    /// The members.
    pub(super) fn ids(self) -> &'static [MemberId] {
        MEMBERS.get(..self.members).unwrap_or(&MEMBERS)
    }
}
