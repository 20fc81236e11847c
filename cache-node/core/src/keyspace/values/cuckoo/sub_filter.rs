//! One sub-filter: buckets of fingerprints, in pages that are made when they are written.

use super::super::super::memory::block_bytes;
use super::{Place, other};

/// About so many cells stand in a page, at least.
const PAGE_CELLS: u64 = 1 << 14;
/// The most pages: what a sub-filter costs before anything is in it.
const MAX_PAGES: u64 = 1 << 10;

/// A power of two of buckets; a cell of 0 is empty.
#[derive(Debug, Clone)]
pub(super) struct SubFilter {
    buckets: u64,
    /// A power of two as well, and no more than `buckets`.
    buckets_a_page: u64,
    bucket_size: u8,
    pages: Box<[Option<Box<[u8]>>]>,
    /// What the pages that are there cost.
    page_bytes: usize,
}

impl SubFilter {
    pub(super) fn new(buckets: u64, bucket_size: u8) -> Self {
        let fit = PAGE_CELLS / u64::from(bucket_size.max(1));
        let buckets_a_page = (1 << fit.max(1).ilog2()).max(buckets / MAX_PAGES).min(buckets);
        let pages = (0..buckets / buckets_a_page).map(|_| None).collect();
        Self { buckets, buckets_a_page, bucket_size, pages, page_bytes: 0 }
    }

    pub(super) fn buckets(&self) -> u64 {
        self.buckets
    }

    pub(super) fn cells(&self) -> u64 {
        self.buckets * u64::from(self.bucket_size)
    }

    pub(super) fn heap_bytes(&self) -> usize {
        self.page_bytes + block_bytes(size_of_val(&*self.pages))
    }

    fn page_cells(&self) -> usize {
        (self.buckets_a_page * u64::from(self.bucket_size)) as usize
    }

    /// The page of a place, and where its bucket begins there.
    fn at(&self, place: u64) -> (usize, usize) {
        let bucket = place & (self.buckets - 1);
        let begin = (bucket & (self.buckets_a_page - 1)) * u64::from(self.bucket_size);
        ((bucket / self.buckets_a_page) as usize, begin as usize)
    }

    /// The cells of a bucket, if its page is there.
    fn bucket(&self, place: u64) -> &[u8] {
        let (page, begin) = self.at(place);
        let page = self.pages.get(page).and_then(Option::as_deref);
        page.and_then(|page| page.get(begin..begin + usize::from(self.bucket_size)))
            .unwrap_or_default()
    }

    /// The cells of a bucket to write.
    fn bucket_mut(&mut self, place: u64) -> &mut [u8] {
        let ((page, begin), size) = (self.at(place), usize::from(self.bucket_size));
        self.page_mut(page).and_then(|page| page.get_mut(begin..begin + size)).unwrap_or_default()
    }

    fn page_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        let cells = self.page_cells();
        let page = self.pages.get_mut(index)?;
        if page.is_none() {
            self.page_bytes += block_bytes(cells);
        }
        Some(page.get_or_insert_with(|| vec![0; cells].into_boxed_slice()))
    }

    /// The pages that are there, with their numbers.
    pub(super) fn pages(&self) -> impl Iterator<Item = (usize, &[u8])> {
        let pages = self.pages.iter().enumerate();
        pages.filter_map(|(number, page)| Some((number, page.as_deref()?)))
    }

    /// Puts a page where it was; false if there is no such page, or it has another length.
    pub(super) fn load_page(&mut self, number: usize, cells: &[u8]) -> bool {
        if cells.len() != self.page_cells() {
            return false;
        }
        let Some(page) = self.page_mut(number) else { return false };
        page.copy_from_slice(cells);
        true
    }

    pub(super) fn has(&self, place: Place) -> bool {
        let Place { fingerprint, one, two } = place;
        self.bucket(one).contains(&fingerprint) || self.bucket(two).contains(&fingerprint)
    }

    pub(super) fn count(&self, place: Place) -> u64 {
        let Place { fingerprint, one, two } = place;
        let of = |bucket: &[u8]| bucket.iter().filter(|cell| **cell == fingerprint).count() as u64;
        let same = self.at(one) == self.at(two);
        of(self.bucket(one)) + if same { 0 } else { of(self.bucket(two)) }
    }

    /// Puts a fingerprint into an empty cell of its buckets; false if there is none.
    pub(super) fn put(&mut self, place: Place) -> bool {
        [place.one, place.two].into_iter().any(|at| self.swap_in(at, 0, place.fingerprint))
    }

    /// Takes a fingerprint out once.
    pub(super) fn take(&mut self, place: Place) -> bool {
        [place.one, place.two].into_iter().any(|at| {
            self.bucket(at).contains(&place.fingerprint) && self.swap_in(at, place.fingerprint, 0)
        })
    }

    /// Puts `new` in the place of the first `old` of a bucket.
    fn swap_in(&mut self, at: u64, old: u8, new: u8) -> bool {
        match self.bucket_mut(at).iter_mut().find(|cell| **cell == old) {
            Some(cell) => {
                *cell = new;
                true
            }
            None => false,
        }
    }

    /// Makes room by moving fingerprints to their other buckets, `most` times at most; tells whether
    /// it did and how many it moved. If not, all are where they were.
    pub(super) fn kick(&mut self, place: Place, most: u32) -> (bool, u32) {
        let size = usize::from(self.bucket_size.max(1));
        let (mut fingerprint, mut at) = (place.fingerprint, place.one);
        let mut moved = 0;
        while moved < most {
            let victim = moved as usize % size;
            let Some(cell) = self.bucket_mut(at).get_mut(victim) else { return (false, moved) };
            fingerprint = std::mem::replace(cell, fingerprint);
            at = other(at & (self.buckets - 1), fingerprint);
            moved += 1;
            if self.swap_in(at, 0, fingerprint) {
                return (true, moved);
            }
        }
        // Back, the last first.
        for step in (0..moved).rev() {
            at = other(at & (self.buckets - 1), fingerprint);
            if let Some(cell) = self.bucket_mut(at).get_mut(step as usize % size) {
                fingerprint = std::mem::replace(cell, fingerprint);
            }
        }
        (false, moved)
    }

    /// `len` cells from a number on, which must be in it.
    pub(super) fn read(&self, from: u64, len: usize) -> Vec<u8> {
        let mut cells = vec![0; len];
        let size = self.page_cells();
        let (mut page, mut begin) = ((from / size as u64) as usize, (from % size as u64) as usize);
        let mut rest = cells.as_mut_slice();
        while !rest.is_empty() && page < self.pages.len() {
            let (part, more) = rest.split_at_mut(rest.len().min(size - begin));
            if let Some(Some(source)) = self.pages.get(page) {
                part.copy_from_slice(&source[begin..begin + part.len()]);
            }
            (rest, page, begin) = (more, page + 1, 0);
        }
        cells
    }

    /// Writes cells from a number on, all of which must be in it.
    pub(super) fn write(&mut self, from: u64, cells: &[u8]) {
        let size = self.page_cells();
        let (mut page, mut begin) = ((from / size as u64) as usize, (from % size as u64) as usize);
        let mut rest = cells;
        while !rest.is_empty() && page < self.pages.len() {
            let (part, more) = rest.split_at(rest.len().min(size - begin));
            let there = self.pages.get(page).is_some_and(Option::is_some);
            // Nothing is what a page that is not there holds anyway.
            if (there || part.iter().any(|cell| *cell != 0))
                && let Some(target) = self.page_mut(page)
                && let Some(target) = target.get_mut(begin..begin + part.len())
            {
                target.copy_from_slice(part);
            }
            (rest, page, begin) = (more, page + 1, 0);
        }
    }
}
