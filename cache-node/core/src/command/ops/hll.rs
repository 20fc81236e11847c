//! The sketch of HyperLogLog in Redis's format, so that strings can be carried over, and its
//! estimate, so that counts are the same.
//!
//! Sources: Heule, Nunkesser, Hall, "HyperLogLog in Practice" (2013); Ertl, "New cardinality
//! estimation algorithms for HyperLogLog sketches" (arXiv:1702.01284) for the estimate; Redis's
//! `hyperloglog.c` for the layout: `HYLL`, a byte of encoding, three of zeros, the last count in
//! eight (the top bit: out of date), then registers of six bits (dense), or runs (sparse).

use super::hll_sparse::{self, Run};

/// Registers.
pub const REGISTERS: usize = 1 << 14;
/// Bits of a hash beyond those that choose the register.
const RANK_BITS: u32 = 50;
pub(super) const HEAD: usize = 16;
const DENSE_BYTES: usize = HEAD + REGISTERS * 6 / 8;
const MAGIC: &[u8] = b"HYLL";
const ENCODING: usize = 4;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
const COUNT: std::ops::Range<usize> = 8..16;
/// `0.5 / ln 2`.
const ALPHA: f64 = 0.721_347_520_444_481_7;

/// The bytes are no sketch after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Corrupt;

/// The value of every register.
#[derive(Debug, Clone)]
pub struct Registers(Box<[u8; REGISTERS]>);

impl Default for Registers {
    fn default() -> Self {
        Self(Box::new([0; REGISTERS]))
    }
}

/// A sketch in its string, which passed [`Sketch::is_one`].
#[derive(Debug)]
pub struct Sketch<'a> {
    bytes: &'a mut Vec<u8>,
}

fn dense_get(bytes: &[u8], register: usize) -> u8 {
    let bit = register * 6;
    let at = HEAD + bit / 8;
    let pair = [bytes.get(at).copied().unwrap_or(0), bytes.get(at + 1).copied().unwrap_or(0)];
    (u16::from_le_bytes(pair) >> (bit % 8)) as u8 & 63
}

fn dense_set(bytes: &mut [u8], register: usize, value: u8) {
    let bit = register * 6;
    let (at, shift) = (HEAD + bit / 8, bit % 8);
    let (mask, value) = (63u16 << shift, u16::from(value) << shift);
    for (index, (mask, value)) in
        mask.to_le_bytes().into_iter().zip(value.to_le_bytes()).enumerate()
    {
        if let Some(byte) = bytes.get_mut(at + index) {
            *byte = *byte & !mask | value;
        }
    }
}

impl Registers {
    /// Raises each register to what a sketch has.
    ///
    /// # Errors
    /// The sketch's runs do not make up all registers.
    pub fn merge(&mut self, sketch: &[u8]) -> Result<(), Corrupt> {
        if Sketch::is_dense(sketch) {
            for (register, value) in self.0.iter_mut().enumerate() {
                *value = dense_get(sketch, register).max(*value);
            }
            return Ok(());
        }
        let mut at = 0;
        for run in hll_sparse::runs(sketch.get(HEAD..).unwrap_or_default()) {
            let Run { value, len, .. } = run?;
            let part = self.0.get_mut(at..at + len).ok_or(Corrupt)?;
            part.iter_mut().for_each(|found| *found = value.max(*found));
            at += len;
        }
        if at == REGISTERS { Ok(()) } else { Err(Corrupt) }
    }

    /// How many different elements there were, about.
    pub fn estimate(&self) -> u64 {
        let mut histogram = [0u32; 64];
        for value in self.0.iter() {
            histogram[usize::from(value & 63)] += 1;
        }
        let m = REGISTERS as f64;
        let most = RANK_BITS as usize + 1;
        let mut z = m * tau((m - f64::from(histogram[most])) / m);
        for count in histogram[1..most].iter().rev() {
            z = (z + f64::from(*count)) * 0.5;
        }
        z += m * sigma(f64::from(histogram[0]) / m);
        (ALPHA * m * m / z).round() as u64
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if before == z {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if before == z {
            return z / 3.0;
        }
    }
}

/// MurmurHash64A by Austin Appleby (public domain), with Redis's seed.
fn murmur(bytes: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mut hash = 0xadc8_3b19 ^ (bytes.len() as u64).wrapping_mul(M);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut k = u64::from_le_bytes(*word).wrapping_mul(M);
        k = (k ^ (k >> 47)).wrapping_mul(M);
        hash = (hash ^ k).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |tail, byte| tail << 8 | u64::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 47)).wrapping_mul(M);
    hash ^ (hash >> 47)
}

/// The register of an element, and the place of the first set bit behind it.
fn place(element: &[u8]) -> (usize, u8) {
    let hash = murmur(element);
    let rank = ((hash >> 14) | 1 << RANK_BITS).trailing_zeros() + 1;
    ((hash as usize) & (REGISTERS - 1), rank as u8)
}

impl<'a> Sketch<'a> {
    /// Whether a string is a sketch, as far as its head and length tell.
    pub fn is_one(bytes: &[u8]) -> bool {
        bytes.len() >= HEAD
            && bytes.starts_with(MAGIC)
            && match bytes[ENCODING] {
                DENSE => bytes.len() == DENSE_BYTES,
                encoding => encoding == SPARSE,
            }
    }

    /// Whether a sketch has a place for each register.
    pub fn is_dense(bytes: &[u8]) -> bool {
        bytes.get(ENCODING) == Some(&DENSE)
    }

    /// A sketch of nothing.
    pub fn empty() -> Vec<u8> {
        let mut bytes = vec![0; HEAD];
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        bytes[ENCODING] = SPARSE;
        bytes.extend(hll_sparse::zeros(REGISTERS));
        bytes
    }

    /// The sketch in a string.
    pub fn over(bytes: &'a mut Vec<u8>) -> Self {
        Self { bytes }
    }

    /// Marks the count as out of date.
    pub fn forget_count(&mut self) {
        if let Some(byte) = self.bytes.get_mut(COUNT.end - 1) {
            *byte |= 1 << 7;
        }
    }

    /// Adds an element; whether that changed a register.
    ///
    /// # Errors
    /// The sketch's runs do not make up all registers.
    pub fn add(&mut self, element: &[u8]) -> Result<bool, Corrupt> {
        let (register, rank) = place(element);
        self.raise(register, rank)
    }

    fn raise(&mut self, register: usize, value: u8) -> Result<bool, Corrupt> {
        if !Self::is_dense(self.bytes) {
            match hll_sparse::raise(self.bytes, register, value)? {
                hll_sparse::Raised::Yes => {
                    self.forget_count();
                    return Ok(true);
                }
                hll_sparse::Raised::No => return Ok(false),
                hll_sparse::Raised::TooLarge => self.make_dense()?,
            }
        }
        let higher = value > dense_get(self.bytes, register);
        if higher {
            dense_set(self.bytes, register, value);
        }
        Ok(higher)
    }

    fn make_dense(&mut self) -> Result<(), Corrupt> {
        if Self::is_dense(self.bytes) {
            return Ok(());
        }
        let mut registers = Registers::default();
        registers.merge(self.bytes)?;
        self.bytes.truncate(HEAD);
        self.bytes.resize(DENSE_BYTES, 0);
        self.bytes[ENCODING] = DENSE;
        for (register, value) in registers.0.iter().enumerate().filter(|(_, value)| **value > 0) {
            dense_set(self.bytes, register, *value);
        }
        Ok(())
    }

    /// Whether [`Self::count`] has to count rather than to read.
    pub fn is_uncounted(&self) -> bool {
        self.bytes.get(COUNT).and_then(<[u8]>::last).is_some_and(|byte| byte >> 7 == 1)
    }

    /// The count; it is kept until something changes.
    ///
    /// # Errors
    /// The sketch's runs do not make up all registers.
    pub fn count(&mut self) -> Result<u64, Corrupt> {
        let kept = self.bytes.get(COUNT).and_then(|kept| kept.try_into().ok()).ok_or(Corrupt)?;
        let kept = u64::from_le_bytes(kept);
        if kept >> 63 == 0 {
            return Ok(kept);
        }
        let mut registers = Registers::default();
        registers.merge(self.bytes)?;
        let count = registers.estimate();
        self.bytes[COUNT].copy_from_slice(&count.to_le_bytes());
        Ok(count)
    }

    /// Raises each register to the given ones.
    ///
    /// # Errors
    /// The sketch's runs do not make up all registers.
    pub fn take(&mut self, registers: &Registers, dense: bool) -> Result<(), Corrupt> {
        if dense {
            self.make_dense()?;
        }
        for (register, value) in registers.0.iter().enumerate().filter(|(_, value)| **value > 0) {
            self.raise(register, *value)?;
        }
        self.forget_count();
        Ok(())
    }
}
