//! What goes, and who gives its blocks back.
//!
//! A large value, or a whole table, stands in many blocks of the allocator, and to give them all
//! back takes long. It never happens under a slot's lock; and who embeds a keyspace may take it
//! elsewhere, so that no command waits for it.

use super::Keyspace;
use super::table::Table;
use super::values::Value;

/// Values that cost less are given back where they go: that is cheaper than handing them over.
const SMALL_BYTES: usize = 16 << 10;

/// Values and tables that nobody can reach any more. To drop it takes as long as it is large.
#[derive(Default)]
pub struct Remains {
    values: Vec<Value>,
    tables: Vec<Table>,
}

impl std::fmt::Debug for Remains {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remains").field("keys", &self.keys()).finish()
    }
}

impl Remains {
    /// How many keys it was.
    pub fn keys(&self) -> u64 {
        (self.values.len() + self.tables.iter().map(Table::len).sum::<usize>()) as u64
    }
}

/// Takes what goes; it must not wait.
pub type Undertaker = Box<dyn Fn(Remains) + Send + Sync>;

impl Keyspace {
    /// From now on `undertaker` takes what is large and goes; without one, and when this is called
    /// a second time, nothing changes: it is dropped where it goes, outside of every lock.
    pub fn on_remains(&self, undertaker: Undertaker) {
        let _ = self.undertaker.set(undertaker);
    }

    fn hand_over(&self, remains: Remains) {
        match self.undertaker.get() {
            Some(undertaker) => undertaker(remains),
            None => drop(remains),
        }
    }

    /// Lets values go. No lock may be held.
    pub(super) fn let_go(&self, mut values: Vec<Value>) {
        values.retain(|value| value.heap_bytes() >= SMALL_BYTES);
        if !values.is_empty() {
            self.hand_over(Remains { values, tables: Vec::new() });
        }
    }

    /// Lets one value go. No lock may be held.
    pub(super) fn let_one_go(&self, value: Value) {
        if value.is_large() && value.heap_bytes() >= SMALL_BYTES {
            self.hand_over(Remains { values: vec![value], tables: Vec::new() });
        }
    }

    /// Lets tables go. No lock may be held.
    pub(super) fn let_tables_go(&self, mut tables: Vec<Table>) {
        tables.retain(|table| table.len() > 0);
        if !tables.is_empty() {
            self.hand_over(Remains { values: Vec::new(), tables });
        }
    }
}

#[cfg(test)]
#[path = "free_tests.rs"]
mod tests;
