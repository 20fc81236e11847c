use super::*;
use proptest::prelude::*;

/// All commands in `input`, given in pieces that end at `cuts`; and the error that ended it.
fn commands(input: &[u8], cuts: &[usize], limits: &Limits) -> (Vec<Vec<Vec<u8>>>, Option<String>) {
    let (mut parser, mut found) = (Parser::new(), Vec::new());
    let mut start = 0;
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (input.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(input.len());
    for end in ends {
        loop {
            match parser.parse(&input[start..end.max(start)], limits) {
                Ok(Some(len)) => {
                    found.push(
                        parser.args(&input[start..]).iter().map(|arg| arg.to_vec()).collect(),
                    );
                    start += len;
                    parser.reset();
                }
                Ok(None) => break,
                Err(error) => return (found, Some(error.to_string())),
            }
        }
    }
    (found, None)
}

fn encode(command: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", command.len()).into_bytes();
    for arg in command {
        out.extend(format!("${}\r\n", arg.len()).bytes());
        out.extend(arg);
        out.extend(b"\r\n");
    }
    out
}

fn error_of(input: &[u8], limits: &Limits) -> Option<String> {
    let (_, error) = commands(input, &[], limits);
    error.map(|e| e.strip_prefix("Protocol error: ").unwrap_or(&e).to_owned())
}

#[test]
fn protocol_errors_have_the_words_of_redis() {
    let limits = Limits::default();
    let long = [b"*".as_slice(), &[b'1'; 70_000]].concat();
    let long_bulk = [b"*1\r\n$".as_slice(), &[b'1'; 70_000]].concat();
    let cases: [(&[u8], &str); 19] = [
        (b"*a\r\n", "invalid multibulk length"),
        (b"*\r\n", "invalid multibulk length"),
        (b"*2147483648\r\n", "invalid multibulk length"),
        (b"*99999999999999999999\r\n", "invalid multibulk length"),
        (b"*1\r\n:5\r\n", "expected '$', got ':'"),
        (b"*1\r\n\r\n", "expected '$', got '\r'"),
        (b"*1\r\n$-1\r\n", "invalid bulk length"),
        (b"*1\r\n$x\r\n", "invalid bulk length"),
        (b"*1\r\n$536870913\r\n", "invalid bulk length"),
        (b"set \"a\r\n", "unbalanced quotes in request"),
        (&[b'a'; 70_000], "too big inline request"),
        (&long, "too big mbulk count string"),
        (&long_bulk, "too big bulk count string"),
        (b"*+1\r\n", "invalid multibulk length"),
        (b"*1\rx", "invalid CRLF in request"),
        (b"*x\rx", "invalid CRLF in request"),
        (b"*1x\n$1\r\n", "invalid multibulk length"),
        (b"*1\r\n$1\rx", "invalid CRLF in request"),
        (b"*1\r\n$1\r\nax\n", "invalid CRLF in request"),
    ];
    for (input, text) in cases {
        let shown = &input[..input.len().min(40)];
        assert_eq!(error_of(input, &limits).as_deref(), Some(text), "{}", shown.escape_ascii());
    }
}

#[test]
fn s1_before_auth_counts_and_lengths_are_small() {
    let limits = Limits { authenticated: false, ..Limits::default() };
    assert_eq!(error_of(b"*11\r\n", &limits).as_deref(), Some("unauthenticated multibulk length"));
    assert_eq!(
        error_of(b"*1\r\n$16385\r\n", &limits).as_deref(),
        Some("unauthenticated bulk length")
    );
    assert_eq!(error_of(b"*10\r\n$16384\r\n", &limits), None);
}

#[test]
fn s1_a_declared_count_or_length_allocates_nothing() {
    let mut parser = Parser::new();
    let input = b"*2147483647\r\n$536870912\r\nabc";
    assert_eq!(parser.parse(input, &Limits::default()), Ok(None));
    assert_eq!(parser.wanted_bytes(), 536_870_911);
    assert!(!parser.ranges.spilled());
    assert_eq!(parser.inline.capacity(), 0);
}

#[test]
fn empty_lines_and_empty_arrays_are_commands_without_arguments() {
    let (found, error) = commands(b"\r\n*0\r\n*-1\r\n\nPING\r\n", &[], &Limits::default());
    assert_eq!(error, None);
    let ping = vec![b"PING".to_vec()];
    assert_eq!(found, vec![vec![], vec![], vec![], vec![], ping]);
}

proptest! {
    #[test]
    fn any_split_of_the_input_gives_the_same_commands(
        sent in prop::collection::vec(
            prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..12), 1..6),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let input: Vec<u8> = sent.iter().flat_map(|command| encode(command)).collect();
        let (found, error) = commands(&input, &cuts, &Limits::default());
        prop_assert_eq!(error, None);
        prop_assert_eq!(found, sent);
    }

    #[test]
    fn random_bytes_never_panic_and_splits_do_not_matter(
        input in prop::collection::vec(
            prop_oneof![
                any::<u8>(), Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'1'),
                Just(b'"'), Just(b'\\'),
            ], 0..200),
        cuts in prop::collection::vec(any::<usize>(), 0..8),
    ) {
        let whole = commands(&input, &[], &Limits::default());
        let pieces = commands(&input, &cuts, &Limits::default());
        prop_assert_eq!(whole, pieces);
    }

    #[test]
    fn nothing_is_allocated_beyond_what_was_received(
        input in prop::collection::vec(
            prop_oneof![Just(b'*'), Just(b'$'), Just(b'\r'), Just(b'\n'), Just(b'9')], 0..300),
    ) {
        let mut parser = Parser::new();
        let _ = parser.parse(&input, &Limits::default());
        prop_assert!(parser.ranges.capacity() <= 8.max(input.len()));
        prop_assert!(parser.inline.capacity() <= 8.max(2 * input.len()));
    }
}
