//! Several requests read at once: the common shape, quickly; all else is left to the [`Parser`].
//!
//! [`Parser`]: super::Parser

use super::parser::Limits;
use smallvec::SmallVec;

/// Requests with more arguments are left to the parser.
const MOST_ARGS: usize = 1024;
/// No request is read after so many arguments: what they need is not to be more than the
/// processor's caches hold.
const ENOUGH_ARGS: usize = 106;
/// So many arguments need no block of their own.
const INLINE_ARGS: usize = 128;

/// The requests that stand whole at the start of an input.
#[derive(Debug, Default)]
pub struct Pipeline<'a> {
    /// The arguments of all, one request after the other.
    args: SmallVec<[&'a [u8]; INLINE_ARGS]>,
    /// Where each request ends: in `args`, and in the input.
    ends: SmallVec<[(usize, usize); 32]>,
}

impl<'a> Pipeline<'a> {
    /// Reads up to `most` requests, fewer if these are long. Stops before the first that is not a whole, well-formed array
    /// of bulk strings with at least one argument: that is for the parser, which knows what is
    /// wrong or missing. Before AUTH none is read, as other limits hold then.
    pub fn read(input: &'a [u8], limits: &Limits, most: usize) -> Self {
        let mut read = Self::default();
        let mut at = 0;
        while limits.authenticated && read.ends.len() < most && read.args.len() < ENOUGH_ARGS {
            match request(input, at, limits, &mut read.args) {
                Some(end) => {
                    at = end;
                    read.ends.push((read.args.len(), end));
                }
                None => {
                    read.args.truncate(read.ends.last().map_or(0, |(args, _)| *args));
                    break;
                }
            }
        }
        read
    }

    /// How many requests were read.
    #[inline]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether none was read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The arguments of a request, at least one, and where it ends in the input.
    #[inline]
    pub fn get(&self, index: usize) -> Option<(&[&'a [u8]], usize)> {
        let &(last, end) = self.ends.get(index)?;
        let first = match index {
            0 => 0,
            _ => self.ends.get(index - 1)?.0,
        };
        Some((self.args.get(first..last)?, end))
    }
}

/// Reads the request at `at`; gives where it ends.
#[inline]
fn request<'a>(
    input: &'a [u8],
    at: usize,
    limits: &Limits,
    args: &mut SmallVec<[&'a [u8]; INLINE_ARGS]>,
) -> Option<usize> {
    let (count, mut at) = number(input, at, b'*')?;
    if count == 0 || count > MOST_ARGS.min(limits.max_args) {
        return None;
    }
    for _ in 0..count {
        let (len, start) = number(input, at, b'$')?;
        if len > limits.max_bulk_bytes {
            return None;
        }
        let end = start + len;
        if input.get(end..end + 2)? != b"\r\n" {
            return None;
        }
        args.push(input.get(start..end)?);
        at = end + 2;
    }
    Some(at)
}

/// The number in a whole line that starts with `mark`, and where the next line starts.
#[inline]
fn number(input: &[u8], at: usize, mark: u8) -> Option<(usize, usize)> {
    let line = input.get(at..)?;
    match line {
        [first, digit @ b'0'..=b'9', b'\r', b'\n', ..] if *first == mark => {
            Some((usize::from(digit - b'0'), at + 4))
        }
        [first, b'1'..=b'9', ..] if *first == mark => {
            let mut value = 0;
            // A longer number is above every limit.
            for (index, &byte) in line.iter().enumerate().take(11).skip(1) {
                match byte {
                    b'0'..=b'9' => value = value * 10 + usize::from(byte - b'0'),
                    b'\r' if line.get(index + 1) == Some(&b'\n') => {
                        return Some((value, at + index + 2));
                    }
                    _ => return None,
                }
            }
            None
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Parser;
    use super::*;
    use proptest::prelude::*;

    fn read(input: &[u8], most: usize) -> Vec<(Vec<Vec<u8>>, usize)> {
        let read = Pipeline::read(input, &Limits::default(), most);
        (0..read.len())
            .filter_map(|index| read.get(index))
            .map(|(args, end)| (args.iter().map(|arg| arg.to_vec()).collect(), end))
            .collect()
    }

    /// The same by the parser: whole commands that have arguments, until the first that is not.
    fn parsed(input: &[u8], most: usize) -> Vec<(Vec<Vec<u8>>, usize)> {
        let (mut found, mut at) = (Vec::new(), 0);
        let mut parser = Parser::new();
        while found.len() < most && input.get(at) == Some(&b'*') {
            let rest = &input[at..];
            let Ok(Some(len)) = parser.parse(rest, &Limits::default()) else { break };
            let args: Vec<Vec<u8>> = parser.args(rest).iter().map(|arg| arg.to_vec()).collect();
            if args.is_empty() {
                break;
            }
            at += len;
            found.push((args, at));
            parser.reset();
        }
        found
    }

    #[test]
    fn whole_requests_are_read_until_one_is_not() {
        let input = b"*2\r\n$3\r\nGET\r\n$1\r\na\r\n*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$1\r\n";
        let all = read(input, 32);
        assert_eq!(all.len(), 2);
        assert_eq!(all[0], (vec![b"GET".to_vec(), b"a".to_vec()], 20));
        assert_eq!(all[1], (vec![b"PING".to_vec()], 34));
        assert_eq!(read(input, 1).len(), 1);
    }

    #[test]
    fn what_is_odd_is_left_to_the_parser() {
        for odd in [
            "PING\r\n",
            "*0\r\n",
            "*-1\r\n",
            "*01\r\n$1\r\na\r\n",
            "*1\r\n$-1\r\n",
            "*1\r\n:1\r\n",
            "*1\rx$1\r\na\r\n",
            "*1\r\n$1\rxa\r\n",
            "*1\r\n$1\r\na\rx",
            "*99999999999999999999\r\n",
        ] {
            assert_eq!(read(odd.as_bytes(), 8).len(), 0, "{odd}");
        }
        let before_auth = Limits { authenticated: false, ..Limits::default() };
        assert!(Pipeline::read(b"*1\r\n$4\r\nPING\r\n", &before_auth, 8).is_empty());
    }

    proptest! {
        #[test]
        fn it_reads_what_the_parser_reads(
            requests in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..5), 0..6),
            cut in 0usize..400,
            flip in prop::option::of((0usize..400, any::<u8>())),
        ) {
            let mut input = Vec::new();
            for args in &requests {
                input.extend_from_slice(format!("*{}\r\n", args.len()).as_bytes());
                for arg in args {
                    input.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
                    input.extend_from_slice(arg);
                    input.extend_from_slice(b"\r\n");
                }
            }
            input.truncate(cut);
            if let Some((at, byte)) = flip && let Some(place) = input.get_mut(at) {
                *place = byte;
            }
            let (quick, slow) = (read(&input, 32), parsed(&input, 32));
            prop_assert!(quick.len() <= slow.len());
            prop_assert_eq!(&quick[..], &slow[..quick.len()]);
        }
    }
}
