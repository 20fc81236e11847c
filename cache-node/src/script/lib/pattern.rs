//! Lua's patterns, matched in Rust: a match can be stopped, needs bounded stack, and counts its steps.
//!
//! Source: the Lua 5.1 reference manual, section 5.4.1.

use crate::script::vm::callback::{Fail, keep_on};

/// The most captures of a pattern, as in Lua.
pub const MAX_CAPTURES: usize = 32;
/// How deep items of a pattern may be nested in one another's continuation.
const MAX_DEPTH: u32 = 200;
/// Steps between two looks at the clock.
const STEPS: u32 = 20_000;

/// Where a capture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capture {
    /// From an offset, so many bytes.
    Span(usize, usize),
    /// An offset alone: `()`.
    Position(usize),
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    start: usize,
    /// `None` while it is open.
    end: Option<Capture>,
}

/// A pattern on its way through a subject.
pub struct Matcher<'a> {
    subject: &'a [u8],
    pattern: &'a [u8],
    captures: [Slot; MAX_CAPTURES],
    level: usize,
    depth: u32,
    steps: u32,
}

type Found = Result<Option<usize>, Fail>;

impl<'a> Matcher<'a> {
    /// Begins a match; `pattern` without its anchor.
    pub fn new(subject: &'a [u8], pattern: &'a [u8]) -> Self {
        let none = Slot { start: 0, end: None };
        Self { subject, pattern, captures: [none; MAX_CAPTURES], level: 0, depth: 0, steps: 0 }
    }

    /// Where the first match at or behind `from` is; with `anchored`, only one at `from`.
    pub fn find(&mut self, from: usize, anchored: bool) -> Result<Option<(usize, usize)>, Fail> {
        let mut at = from;
        loop {
            self.level = 0;
            if let Some(end) = self.run(at, 0)? {
                return Ok(Some((at, end)));
            }
            at += 1;
            if anchored || at > self.subject.len() {
                return Ok(None);
            }
        }
    }

    /// How many captures the last match has.
    pub fn count(&self) -> usize {
        self.level
    }

    /// A capture of the last match.
    pub fn capture(&self, index: usize) -> Result<Capture, Fail> {
        if index >= self.level {
            return Err(Fail::here("invalid capture index"));
        }
        self.captures[index].end.ok_or_else(|| Fail::here("unfinished capture"))
    }

    fn step(&mut self) -> Result<(), Fail> {
        self.steps += 1;
        if self.steps >= STEPS {
            self.steps = 0;
            keep_on()?;
        }
        Ok(())
    }

    fn run(&mut self, s: usize, p: usize) -> Found {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            self.depth = 0;
            return Err(Fail::here("pattern too complex"));
        }
        let found = self.run_from(s, p);
        self.depth = self.depth.saturating_sub(1);
        found
    }

    fn run_from(&mut self, mut s: usize, mut p: usize) -> Found {
        loop {
            self.step()?;
            let Some(&item) = self.pattern.get(p) else { return Ok(Some(s)) };
            match item {
                b'(' if self.pattern.get(p + 1) == Some(&b')') => {
                    return self.open(s, p + 2, Some(Capture::Position(s)));
                }
                b'(' => return self.open(s, p + 1, None),
                b')' => return self.close(s, p + 1),
                b'%' => match self.pattern.get(p + 1) {
                    Some(b'b') => match self.balance(s, p + 2)? {
                        Some(end) => {
                            (s, p) = (end, p + 4);
                            continue;
                        }
                        None => return Ok(None),
                    },
                    Some(b'f') => {
                        p += 2;
                        if self.pattern.get(p) != Some(&b'[') {
                            return Err(Fail::here("missing '[' after '%f' in pattern"));
                        }
                        let end = self.class_end(p)?;
                        let before = if s == 0 { 0 } else { self.subject[s - 1] };
                        let here = self.subject.get(s).copied().unwrap_or(0);
                        if self.in_set(before, p, end - 1) || !self.in_set(here, p, end - 1) {
                            return Ok(None);
                        }
                        p = end;
                        continue;
                    }
                    Some(digit @ b'0'..=b'9') => match self.back_reference(s, *digit)? {
                        Some(end) => {
                            (s, p) = (end, p + 2);
                            continue;
                        }
                        None => return Ok(None),
                    },
                    _ => {}
                },
                b'$' if p + 1 == self.pattern.len() => {
                    return Ok((s == self.subject.len()).then_some(s));
                }
                _ => {}
            }
            let end = self.class_end(p)?;
            let here = s < self.subject.len() && self.is_single(s, p, end);
            match self.pattern.get(end) {
                Some(b'?') => {
                    if here && let Some(found) = self.run(s + 1, end + 1)? {
                        return Ok(Some(found));
                    }
                    p = end + 1;
                }
                Some(b'*') => return self.greedy(s, p, end),
                Some(b'+') => return if here { self.greedy(s + 1, p, end) } else { Ok(None) },
                Some(b'-') => return self.lazy(s, p, end),
                _ if here => (s, p) = (s + 1, end),
                _ => return Ok(None),
            }
        }
    }

    fn greedy(&mut self, s: usize, p: usize, end: usize) -> Found {
        let mut count = 0;
        while s + count < self.subject.len() && self.is_single(s + count, p, end) {
            self.step()?;
            count += 1;
        }
        loop {
            if let Some(found) = self.run(s + count, end + 1)? {
                return Ok(Some(found));
            }
            if count == 0 {
                return Ok(None);
            }
            count -= 1;
        }
    }

    fn lazy(&mut self, mut s: usize, p: usize, end: usize) -> Found {
        loop {
            if let Some(found) = self.run(s, end + 1)? {
                return Ok(Some(found));
            }
            if s < self.subject.len() && self.is_single(s, p, end) {
                s += 1;
            } else {
                return Ok(None);
            }
        }
    }

    fn open(&mut self, s: usize, p: usize, end: Option<Capture>) -> Found {
        if self.level >= MAX_CAPTURES {
            return Err(Fail::here("too many captures"));
        }
        self.captures[self.level] = Slot { start: s, end };
        self.level += 1;
        let level = self.level;
        let found = self.run(s, p)?;
        if found.is_none() {
            self.level = level - 1;
        }
        Ok(found)
    }

    fn close(&mut self, s: usize, p: usize) -> Found {
        let open = (0..self.level).rev().find(|index| self.captures[*index].end.is_none());
        let Some(index) = open else { return Err(Fail::here("invalid pattern capture")) };
        let start = self.captures[index].start;
        self.captures[index].end = Some(Capture::Span(start, s - start));
        let found = self.run(s, p)?;
        if found.is_none() {
            self.captures[index].end = None;
        }
        Ok(found)
    }

    fn balance(&mut self, s: usize, p: usize) -> Found {
        let (Some(&open), Some(&close)) = (self.pattern.get(p), self.pattern.get(p + 1)) else {
            return Err(Fail::here("unbalanced pattern"));
        };
        if self.subject.get(s) != Some(&open) {
            return Ok(None);
        }
        let mut depth = 1usize;
        for at in s + 1..self.subject.len() {
            self.step()?;
            let byte = self.subject[at];
            if byte == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(at + 1));
                }
            } else if byte == open {
                depth += 1;
            }
        }
        Ok(None)
    }

    fn back_reference(&mut self, s: usize, digit: u8) -> Found {
        let index = usize::from(digit).wrapping_sub(usize::from(b'1'));
        let end = (index < self.level).then(|| self.captures[index].end).flatten();
        let Some(capture) = end else { return Err(Fail::here("invalid capture index")) };
        let Capture::Span(start, len) = capture else { return Ok(None) };
        self.step()?;
        let same = self.subject.get(s..s + len) == self.subject.get(start..start + len);
        Ok(same.then_some(s + len))
    }

    /// Where the single-character class that begins at `p` ends.
    fn class_end(&self, p: usize) -> Result<usize, Fail> {
        let item = self.pattern.get(p).copied();
        let mut p = p + 1;
        match item {
            Some(b'%') => {
                if p >= self.pattern.len() {
                    return Err(Fail::here("malformed pattern (ends with '%')"));
                }
                Ok(p + 1)
            }
            Some(b'[') => {
                if self.pattern.get(p) == Some(&b'^') {
                    p += 1;
                }
                loop {
                    let Some(&byte) = self.pattern.get(p) else {
                        return Err(Fail::here("malformed pattern (missing ']')"));
                    };
                    p += 1;
                    if byte == b'%' {
                        p += 1;
                    }
                    if self.pattern.get(p) == Some(&b']') {
                        return Ok(p + 1);
                    }
                }
            }
            _ => Ok(p),
        }
    }

    fn is_single(&self, s: usize, p: usize, end: usize) -> bool {
        let Some(&byte) = self.subject.get(s) else { return false };
        match self.pattern[p] {
            b'.' => true,
            b'%' => is_class(byte, self.pattern[p + 1]),
            b'[' => self.in_set(byte, p, end - 1),
            item => item == byte,
        }
    }

    /// Whether a byte is in the set between `[` at `p` and `]` at `last`.
    fn in_set(&self, byte: u8, mut p: usize, last: usize) -> bool {
        let mut wanted = true;
        if self.pattern.get(p + 1) == Some(&b'^') {
            wanted = false;
            p += 1;
        }
        loop {
            p += 1;
            if p >= last {
                return !wanted;
            }
            match self.pattern[p] {
                b'%' => {
                    p += 1;
                    if self.pattern.get(p).is_some_and(|class| is_class(byte, *class)) {
                        return wanted;
                    }
                }
                low if self.pattern.get(p + 1) == Some(&b'-') && p + 2 < last => {
                    p += 2;
                    if (low..=self.pattern[p]).contains(&byte) {
                        return wanted;
                    }
                }
                item if item == byte => return wanted,
                _ => {}
            }
        }
    }
}

fn is_class(byte: u8, class: u8) -> bool {
    let is = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => byte.is_ascii_whitespace() || byte == 0x0b,
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    is != class.is_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(subject: &str, pattern: &str) -> Result<Option<(usize, usize)>, String> {
        Matcher::new(subject.as_bytes(), pattern.as_bytes()).find(0, false).map_err(|fail| {
            match fail {
                Fail::Here(text) | Fail::Text(text) | Fail::Redis(text) => text,
            }
        })
    }

    #[test]
    fn patterns_mean_what_the_manual_says() {
        for (subject, pattern, wanted) in [
            ("hello world", "o w", Some((4, 7))),
            ("hello", "l+", Some((2, 4))),
            ("hello", "l-o", Some((2, 5))),
            ("key = value", "(%w+)%s*=%s*(%w+)", Some((0, 11))),
            ("THE (quick) fox", "%((%a+)%)", Some((4, 11))),
            ("f(a(b)c)d", "%b()", Some((1, 8))),
            ("THE (quick) fox", "%f[%a]%a+", Some((0, 3))),
            ("abcabc", "(abc)%1", Some((0, 6))),
            ("a]b", "[]]", Some((1, 2))),
            ("a-b", "[a-]+", Some((0, 2))),
            ("x^y", "[%^]", Some((1, 2))),
            ("abc", "[^a]+$", Some((1, 3))),
            ("abc", "d?", Some((0, 0))),
            ("abc", "xyz", None),
            ("", "", Some((0, 0))),
        ] {
            assert_eq!(find(subject, pattern), Ok(wanted), "{subject} {pattern}");
        }
    }

    #[test]
    fn malformed_patterns_have_luas_words() {
        for (pattern, words) in [
            ("%", "malformed pattern (ends with '%')"),
            ("[a", "malformed pattern (missing ']')"),
            ("[a%", "malformed pattern (missing ']')"),
            ("%b", "unbalanced pattern"),
            ("%f", "missing '[' after '%f' in pattern"),
            (")", "invalid pattern capture"),
            ("%1", "invalid capture index"),
        ] {
            assert_eq!(find("abc", pattern), Err(words.to_owned()), "{pattern}");
        }
        let deep = "(".repeat(33);
        assert_eq!(find("abc", &deep), Err("too many captures".to_owned()));
    }

    #[test]
    fn s3_a_deep_pattern_needs_no_deep_stack() {
        let pattern = "a?".repeat(100_000);
        assert_eq!(find(&"a".repeat(1000), &pattern), Err("pattern too complex".to_owned()));
    }

    proptest::proptest! {
        #[test]
        fn s3_any_pattern_on_any_subject_ends_without_a_panic(
            subject in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..20),
            pattern in "[a%\\[\\]()^$.*+?bf01z-]{0,12}",
        ) {
            let mut matcher = Matcher::new(&subject, pattern.as_bytes());
            if let Ok(Some((start, end))) = matcher.find(0, false) {
                assert!(start <= end && end <= subject.len());
                for index in 0..matcher.count() {
                    let _ = matcher.capture(index);
                }
            }
        }
    }
}
