//! Patterns of parameter names: `*` and `?` suffice, as no parameter's name has brackets.

/// Whether `pattern` matches the whole of `name`, in time proportional to their product at worst.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where the last star stood, and how far the name was then.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_and_question_marks_match_as_in_redis() {
        assert!(matches(b"*", b""));
        assert!(matches(b"max*", b"maxclients"));
        assert!(matches(b"*-*len", b"proto-max-bulk-len"));
        assert!(matches(b"?ort", b"port"));
        assert!(!matches(b"max", b"maxclients"));
        assert!(!matches(b"*x", b"save"));
    }
}
