//! Values that do not fit in a record, and long keys, each with a number.

use super::super::memory::block_bytes;
use super::super::moves::{BeforeMove, move_block, move_list};
use super::super::values::Value;
use super::record::ObjectNumber;

/// No number.
const NONE: ObjectNumber = ObjectNumber::MAX;

/// Values by number.
pub struct Objects {
    /// A free place holds the next free place.
    values: Vec<Value>,
    free: ObjectNumber,
    len: usize,
    /// What stands on the heap for the values themselves.
    value_bytes: usize,
}

impl Default for Objects {
    fn default() -> Self {
        Self { values: Vec::new(), free: NONE, len: 0, value_bytes: 0 }
    }
}

impl Objects {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// What stands on the heap for it and all its values.
    #[inline]
    pub fn heap_bytes(&self) -> usize {
        block_bytes(size_of::<Self>())
            + block_bytes(self.values.capacity() * size_of::<Value>())
            + self.value_bytes
    }

    /// Whether much of it is free.
    pub fn is_sparse(&self) -> bool {
        self.values.len() > 8 && self.len < self.values.len() / 2
    }

    /// Keeps a value; its number.
    pub fn put(&mut self, value: Value) -> ObjectNumber {
        self.len += 1;
        self.value_bytes += value.heap_bytes();
        let number = self.free;
        if let Some(place) = self.values.get_mut(number as usize) {
            self.free = match place {
                Value::Int(next) => *next as ObjectNumber,
                _ => NONE,
            };
            *place = value;
            return number;
        }
        if self.values.len() == self.values.capacity() {
            let bytes = block_bytes((self.values.len() + 1) * size_of::<Value>());
            self.values.reserve_exact(bytes / size_of::<Value>() - self.values.len());
        }
        self.values.push(value);
        (self.values.len() - 1) as ObjectNumber
    }

    /// Takes a value out.
    pub fn take(&mut self, number: ObjectNumber) -> Option<Value> {
        let place = self.values.get_mut(number as usize)?;
        let value = std::mem::replace(place, Value::Int(i64::from(self.free)));
        self.free = number;
        self.len -= 1;
        self.value_bytes -= value.heap_bytes();
        Some(value)
    }

    /// Puts the blocks of the list and of strings elsewhere; how many bytes they have.
    pub fn move_blocks(&mut self, before: BeforeMove<'_>) -> usize {
        let mut bytes = move_list(&mut self.values, before);
        for value in &mut self.values {
            if let Value::Str(text) = value {
                bytes += move_block(text, before);
            }
        }
        bytes
    }

    /// A value.
    #[inline]
    pub fn get(&self, number: ObjectNumber) -> Option<&Value> {
        self.values.get(number as usize)
    }

    /// Changes a value in place.
    #[inline]
    pub fn change<R>(
        &mut self,
        number: ObjectNumber,
        change: impl FnOnce(&mut Value) -> R,
    ) -> Option<R> {
        let value = self.values.get_mut(number as usize)?;
        let before = value.heap_bytes();
        let result = change(value);
        self.value_bytes = self.value_bytes + value.heap_bytes() - before;
        Some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_again_and_bytes_are_counted() {
        let mut objects = Objects::default();
        let text = |len: usize| Value::Str(vec![b'x'; len].into());
        let numbers: Vec<_> = (0..100).map(|i| objects.put(text(100 + i))).collect();
        let full = objects.heap_bytes();
        for number in &numbers[..50] {
            assert!(objects.take(*number).is_some());
        }
        assert!(objects.heap_bytes() < full - 50 * 100);
        assert_eq!(objects.len(), 50);
        for _ in 0..50 {
            let number = objects.put(text(10));
            assert!(numbers.contains(&number));
            objects.change(number, |value| *value = text(100));
        }
        assert_eq!((objects.len(), objects.values.len()), (100, 100));
        let values: usize = objects.values.iter().map(Value::heap_bytes).sum();
        assert_eq!(objects.value_bytes, values);
    }
}
