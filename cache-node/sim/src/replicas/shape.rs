//! What a world has. Some mistakes show where much happens, and others only where little else does: so there is
//! more than one.

use super::MEMBERS;
use crate::choice::Dice;
use hypercache_core::cluster::MemberId;

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// How many members there are, the most of them four.
    pub members: usize,
    /// Slots go from owner to owner. Needs more members than owners.
    pub moves: bool,
    /// A member hears nothing of the table for a while.
    pub late_tables: bool,
    /// Copies become other ones, and have to be found.
    pub damage: bool,
}

impl Shape {
    /// Three members, each of which owns all slots.
    pub const NARROW: Self = Self { members: 3, moves: false, late_tables: false, damage: false };
    /// Four of which three own each slot, and all that there is.
    pub const WIDE: Self = Self { members: 4, moves: true, late_tables: true, damage: true };

    /// What a seed says: each third is narrow, each third is wide, and the others are something between.
    pub fn of(seed: u64) -> Self {
        match seed % 3 {
            0 => Self::NARROW,
            1 => Self::WIDE,
            _ => {
                let mut dice = Dice::new(!seed);
                let mut has = || dice.one(2);
                let moves = has();
                let members = if moves || has() { 4 } else { 3 };
                Self { members, moves, late_tables: has(), damage: has() }
            }
        }
    }

    /// The members.
    pub(super) fn ids(self) -> &'static [MemberId] {
        MEMBERS.get(..self.members).unwrap_or(&MEMBERS)
    }
}
