//! What a crash leaves.

use super::file::{Change, Inode, Names, sectors, write};
use crate::choice::Choice;

/// How much of a write is there.
const WRITES: usize = 5;

impl Inode {
    /// What is on the disk after a crash, as `choice` says: all that was forced, and any part of the rest.
    pub(super) fn after_crash(&self, choice: &mut impl Choice) -> Self {
        let mut content = self.durable.clone();
        for change in &self.pending {
            match change {
                Change::Truncate { len } => {
                    if choice.pick(2) == 0 {
                        content.resize(*len, 0);
                    }
                }
                Change::Write { offset, bytes } => {
                    some_of(choice, &mut content, *offset, bytes);
                }
            }
        }
        Self::on_disk(content)
    }
}

/// Writes some of the sectors of a write.
fn some_of(choice: &mut impl Choice, content: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    let parts: Vec<_> = sectors(offset, bytes.len()).collect();
    let way = choice.pick(WRITES);
    let middle = parts.len() / 2;
    for (index, part) in parts.iter().enumerate() {
        let is_there = match way {
            0 => true,
            1 | 4 => false,
            // Torn: the beginning, or the end.
            2 => index < middle.max(1),
            _ => index >= middle,
        };
        if is_there && let Some(part_bytes) = bytes.get(part.clone()) {
            write(content, offset + part.start, part_bytes);
        }
    }
    // Its length came to the disk, and nothing of it: blocks that were never written.
    if way == 4 && content.len() < offset + bytes.len() {
        content.resize(offset + bytes.len(), 0);
    }
}

impl Names {
    /// As [`Inode::after_crash`].
    pub(super) fn after_crash(&self, choice: &mut impl Choice) -> Self {
        let mut names = self.durable.clone();
        for change in &self.pending {
            if choice.pick(2) == 0 {
                change.apply(&mut names);
            }
        }
        Self { cached: names.clone(), durable: names, pending: Vec::new() }
    }
}
