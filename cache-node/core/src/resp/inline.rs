//! Inline commands: a line of words, some of them quoted, as a person types them.

use smallvec::SmallVec;

/// What a quoted or plain word's reading stands in.
enum Quote {
    None,
    Double,
    Single,
}

/// Splits a line into its arguments: their bytes go to `out`, where each starts and ends to
/// `ranges`. Double quotes know `\n \r \t \b \a \xHH` and `\` before any other byte, single quotes
/// only `\'`. As in Valkey, more of the word may follow a closing quote. False when one is not closed.
pub(super) fn split_arguments(
    line: &[u8],
    out: &mut Vec<u8>,
    ranges: &mut SmallVec<[(usize, usize); 8]>,
) -> bool {
    let mut rest = line;
    loop {
        let blanks = rest.iter().take_while(|b| is_space(**b)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return true;
        }
        let start = out.len();
        match read_word(rest, out) {
            Some(read) => rest = &rest[read..],
            None => return false,
        }
        ranges.push((start, out.len()));
    }
}

/// Reads one word; how many bytes of `input` it took, `None` for a quote that goes wrong.
fn read_word(input: &[u8], out: &mut Vec<u8>) -> Option<usize> {
    let mut quote = Quote::None;
    let mut i = 0;
    loop {
        let byte = input.get(i).copied();
        match (&quote, byte) {
            (Quote::None, None) => return Some(i),
            (Quote::None, Some(b' ' | b'\n' | b'\r' | b'\t')) => return Some(i + 1),
            (Quote::None, Some(b'"')) => quote = Quote::Double,
            (Quote::None, Some(b'\'')) => quote = Quote::Single,
            (_, None) => return None,
            (Quote::Double, Some(b'\\')) => {
                if let Some(value) = hex_escape(&input[i..]) {
                    out.push(value);
                    i += 3;
                } else {
                    i += 1;
                    out.push(match *input.get(i)? {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'b' => 8,
                        b'a' => 7,
                        other => other,
                    });
                }
            }
            (Quote::Single, Some(b'\\')) if input.get(i + 1) == Some(&b'\'') => {
                i += 1;
                out.push(b'\'');
            }
            (Quote::Double, Some(b'"')) | (Quote::Single, Some(b'\'')) => quote = Quote::None,
            (_, Some(other)) => out.push(other),
        }
        i += 1;
    }
}

/// The byte that `\xHH` at the start of `input` stands for.
fn hex_escape(input: &[u8]) -> Option<u8> {
    let [b'\\', b'x', high, low, ..] = input else { return None };
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(*high)? << 4 | digit(*low)?)
}

/// C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
        let (mut out, mut ranges) = (Vec::new(), SmallVec::new());
        split_arguments(line, &mut out, &mut ranges)
            .then(|| ranges.iter().map(|&(a, b)| out[a..b].to_vec()).collect())
    }

    #[test]
    fn words_are_unquoted_as_valkey_does() {
        let cases: [(&[u8], &[&[u8]]); 10] = [
            (b"", &[]),
            (b"  \t ", &[]),
            (b"set a b", &[b"set", b"a", b"b"]),
            (b"set \"a b\" ''", &[b"set", b"a b", b""]),
            (br#""\x41\n\"\q" 'it\'s \n'"#, &[b"A\n\"q", b"it's \\n"]),
            (br#"foo"bar" x"#, &[b"foobar", b"x"]),
            (br#""\xZZ""#, &[b"xZZ"]),
            (br#""""tes"t-'k'e"y" "test"'-'value"#, &[b"test-key", b"test-value"]),
            (br#"'a'"b"c '' x"#, &[b"abc", b"", b"x"]),
            (b"\"\"", &[b""]),
        ];
        for (line, words) in cases {
            let expected: Vec<Vec<u8>> = words.iter().map(|w| w.to_vec()).collect();
            assert_eq!(split(line), Some(expected), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn quotes_that_do_not_close_are_refused() {
        for line in [&b"\"abc"[..], b"'abc", b"\"a\"b\"", b"'b'a'r", b"\"a\\"] {
            assert_eq!(split(line), None, "{}", line.escape_ascii());
        }
    }
}
