//! Patterns of KEYS and SCAN: `*`, `?`, `[a-z]`, `[^a]`, and `\` before any byte.

/// Whether `text` matches `pattern`, as Redis's globs do. The time is at most the product of the
/// two lengths: only the last `*` is ever gone back to, which is enough, because everything else
/// in a pattern matches exactly one byte.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        // Redis does not even try other patterns, such as `**`.
        return pattern.is_empty() || pattern == b"*";
    }
    let (mut p, mut t) = (0, 0);
    // Where to go on after the last star, if what followed it did not match.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            if p == pattern.len() {
                return true;
            }
            retry = Some((p, t));
            continue;
        }
        if t == text.len() {
            return p == pattern.len();
        }
        if let Some(next) = match_byte(pattern, p, text[t]) {
            p = next;
            t += 1;
            continue;
        }
        match retry {
            Some((after_star, from)) => {
                p = after_star;
                t = from + 1;
                retry = Some((after_star, t));
            }
            None => return false,
        }
    }
}

/// Where the pattern goes on if its item at `p` matches `byte`.
fn match_byte(pattern: &[u8], p: usize, byte: u8) -> Option<usize> {
    match *pattern.get(p)? {
        b'?' => Some(p + 1),
        b'[' => {
            let (matched, next) = match_class(pattern, p + 1, byte);
            matched.then_some(next)
        }
        b'\\' if p + 1 < pattern.len() => (pattern[p + 1] == byte).then_some(p + 2),
        other => (other == byte).then_some(p + 1),
    }
}

/// Whether a class whose `[` is before `p` matches, and where the pattern goes on. A class that
/// is not closed ends with the pattern.
fn match_class(pattern: &[u8], mut p: usize, byte: u8) -> (bool, usize) {
    let negated = pattern.get(p) == Some(&b'^');
    if negated {
        p += 1;
    }
    // Redis compares ranges as C's signed characters.
    let signed = |b: u8| b as i8;
    let mut matched = false;
    loop {
        match pattern.get(p..).unwrap_or(&[]) {
            [] => return (matched != negated, p),
            [b'\\', escaped, ..] => {
                matched |= *escaped == byte;
                p += 2;
            }
            [b']', ..] => return (matched != negated, p + 1),
            [from, b'-', to, ..] => {
                let (from, to) = (signed(*from), signed(*to));
                matched |= (from.min(to)..=from.max(to)).contains(&signed(byte));
                p += 3;
            }
            [one, ..] => {
                matched |= *one == byte;
                p += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_redis() {
        let yes: [(&str, &str); 16] = [
            ("*", ""),
            ("*", "abc"),
            ("a*c", "abbc"),
            ("a**", "a"),
            ("?b?", "abc"),
            ("[a-c]x", "bx"),
            ("[c-a]x", "bx"),
            ("[^a]x", "bx"),
            ("\\*", "*"),
            ("a\\", "a\\"),
            ("[\\]]", "]"),
            ("[abc", "b"),
            ("*a*b*", "xxaxxbxx"),
            ("h[ae]llo", "hallo"),
            ("[a-]", "^"),
            ("", ""),
        ];
        for (pattern, text) in yes {
            assert!(matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
        let no: [(&str, &str); 9] = [
            ("", "a"),
            ("a", ""),
            ("?", ""),
            ("a*c", "abcd"),
            ("[^a]x", "ax"),
            ("\\*", "a"),
            ("[", "["),
            ("*b", "a"),
            ("[a-c]", "d"),
        ];
        for (pattern, text) in no {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn s4_a_pattern_of_many_stars_costs_no_exponential_time() {
        let pattern = b"a*".repeat(2000);
        let text = [b"a".repeat(4000), b"b".to_vec()].concat();
        let closed = [pattern.clone(), b"c".to_vec()].concat();
        assert!(matches(&pattern, &text));
        assert!(!matches(&closed, &text));
    }
}
