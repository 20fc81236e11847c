//! Ranges of sorted sets: by place, by score, by member.

use super::ranges;
use super::texts;
use crate::keyspace::SortedSet;
use crate::resp::{Writer, parse_bound};
use std::ops::Range;

/// A range of scores.
#[derive(Debug, Clone, Copy)]
pub struct Scores {
    least: f64,
    without_least: bool,
    most: f64,
    without_most: bool,
}

/// One end of a range of members.
#[derive(Debug, Clone, Copy)]
enum End<'a> {
    /// Before all.
    Min,
    /// Behind all.
    Max,
    /// This one, or just beyond.
    At { member: &'a [u8], without: bool },
}

/// A range of members.
#[derive(Debug, Clone, Copy)]
pub struct Members<'a> {
    from: End<'a>,
    to: End<'a>,
}

/// A range.
#[derive(Debug, Clone, Copy)]
pub enum Bounds<'a> {
    /// From place to place, both included, from the end if negative.
    Places(i64, i64),
    /// By score.
    Scores(Scores),
    /// By member; all scores should be the same.
    Members(Members<'a>),
}

/// What a range goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Places.
    Place,
    /// Scores.
    Score,
    /// Members.
    Member,
}

fn score_end(arg: &[u8]) -> Option<(f64, bool)> {
    match arg.strip_prefix(b"(") {
        Some(rest) => Some((parse_bound(rest)?, true)),
        None => Some((parse_bound(arg)?, false)),
    }
}

fn member_end(arg: &[u8]) -> Option<End<'_>> {
    match arg {
        [b'+'] | [b'+', 0, ..] => Some(End::Max),
        [b'-'] | [b'-', 0, ..] => Some(End::Min),
        [b'(', member @ ..] => Some(End::At { member, without: true }),
        [b'[', member @ ..] => Some(End::At { member, without: false }),
        _ => None,
    }
}

impl Scores {
    fn is_from(&self, score: f64) -> bool {
        if self.without_least { score > self.least } else { score >= self.least }
    }

    fn is_to(&self, score: f64) -> bool {
        if self.without_most { score < self.most } else { score <= self.most }
    }
}

impl Members<'_> {
    fn is_from(&self, found: &[u8]) -> bool {
        match self.from {
            End::Min => true,
            End::Max => false,
            End::At { member, without } => found > member || !without && found == member,
        }
    }

    fn is_to(&self, found: &[u8]) -> bool {
        match self.to {
            End::Min => false,
            End::Max => true,
            End::At { member, without } => found < member || !without && found == member,
        }
    }

    /// Whether the ends of the set let anything be in the range.
    fn may_meet(&self, set: &SortedSet) -> bool {
        let (mut head, mut tail) = (false, false);
        set.visit(0, 1, false, |member, _| {
            head = self.is_to(member);
            true
        });
        set.visit(0, set.len(), true, |member, _| {
            tail = self.is_from(member);
            false
        });
        head && tail
    }

    /// The places of the range. In a small set whose scores differ, it is what stands together from
    /// the first match on (the last, if `backwards`), as in Redis.
    fn places(&self, set: &SortedSet, backwards: bool) -> Range<usize> {
        if !self.may_meet(set) {
            return 0..0;
        }
        let packed = matches!(set, SortedSet::Packed(_));
        let mut count = 0;
        if backwards {
            let end = set.last(|_, member| self.is_to(member));
            if !packed {
                return set.first(|_, member| self.is_from(member))..end;
            }
            set.visit(0, end, true, |member, _| {
                let within = self.is_from(member);
                count += usize::from(within);
                within
            });
            end - count..end
        } else {
            let start = set.first(|_, member| self.is_from(member));
            if !packed {
                return start..set.last(|_, member| self.is_to(member));
            }
            set.visit(start, set.len(), false, |member, _| {
                let within = self.is_to(member);
                count += usize::from(within);
                within
            });
            start..start + count
        }
    }
}

impl<'a> Bounds<'a> {
    /// Reads the two ends; `None` after answering with an error.
    pub fn read(by: By, from: &'a [u8], to: &'a [u8], out: &mut Writer<'_>) -> Option<Self> {
        match by {
            By::Place => Some(Self::Places(texts::integer(from, out)?, texts::integer(to, out)?)),
            By::Score => {
                let (Some((least, without_least)), Some((most, without_most))) =
                    (score_end(from), score_end(to))
                else {
                    out.error("ERR min or max is not a float");
                    return None;
                };
                Some(Self::Scores(Scores { least, without_least, most, without_most }))
            }
            By::Member => {
                let (Some(from), Some(to)) = (member_end(from), member_end(to)) else {
                    out.error("ERR min or max not valid string range item");
                    return None;
                };
                Some(Self::Members(Members { from, to }))
            }
        }
    }

    /// The places in the set that the range means; they are counted from the head, also if places
    /// are asked for `backwards`.
    pub fn places(&self, set: &SortedSet, backwards: bool) -> Range<usize> {
        let len = set.len();
        let range = match self {
            Self::Places(start, stop) => {
                let range = ranges::range(*start, *stop, len);
                if backwards { len - range.end..len - range.start } else { range }
            }
            Self::Scores(scores) => {
                let start = set.first(|score, _| scores.is_from(score));
                start..set.last(|score, _| scores.is_to(score))
            }
            Self::Members(members) => members.places(set, backwards),
        };
        if range.start >= range.end { 0..0 } else { range }
    }
}
