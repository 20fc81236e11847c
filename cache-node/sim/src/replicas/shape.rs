//! What a world has. Some mistakes show where much happens, and others only where little else does: so there is
//! more than one.

use super::MEMBERS;
use crate::choice::{Choice, Dice};
use hypercache_core::cluster::MemberId;

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
    /// Copies become other ones, and have to be found.
    pub damage: bool,
}

impl Shape {
    /// Three members, each of which owns all slots.
    pub const NARROW: Self =
        Self { members: 3, moves: 0, patience: 40, late_tables: false, damage: false };
    /// The same, and owners leave for little.
    pub const IMPATIENT: Self = Self { patience: 6, ..Self::NARROW };
    /// Four of which three own each slot, and all that there is.
    pub const WIDE: Self =
        Self { members: 4, moves: 2, patience: 40, late_tables: true, damage: true };
    /// Slots move all the time, and nothing is damaged.
    pub const RESTLESS: Self = Self { moves: 5, damage: false, ..Self::WIDE };

    /// The worlds that have names.
    pub const NAMED: [(&str, Self); 4] = [
        ("narrow", Self::NARROW),
        ("impatient", Self::IMPATIENT),
        ("wide", Self::WIDE),
        ("restless", Self::RESTLESS),
    ];

    /// What a seed says: one with a name, or something between.
    pub fn of(seed: u64) -> Self {
        if let Some((_, named)) = Self::NAMED.get((seed % 6) as usize) {
            return *named;
        }
        let mut dice = Dice::new(!seed);
        let members = 3 + dice.pick(2);
        let moves = if members > 3 { [0, 1, 2, 5][dice.pick(4)] } else { 0 };
        let patience = [6, 20, 40, 100][dice.pick(4)];
        Self { members, moves, patience, late_tables: dice.one(2), damage: dice.one(2) }
    }

    /// The members.
    pub(super) fn ids(self) -> &'static [MemberId] {
        MEMBERS.get(..self.members).unwrap_or(&MEMBERS)
    }
}
