//! Encoding replies into a connection's output buffer.

use super::Protocol;
use super::double::format_double;

/// Appends replies to a buffer, in the connection's version of RESP. What RESP2 lacks falls back
/// as Redis does it: maps become flat arrays, sets and pushes arrays, doubles bulk strings,
/// booleans integers.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut Vec<u8>,
    protocol: Protocol,
}

impl<'a> Writer<'a> {
    /// A writer that appends to `out`.
    #[inline]
    pub fn new(out: &'a mut Vec<u8>, protocol: Protocol) -> Self {
        Self { out, protocol }
    }

    /// The version of RESP that is written.
    #[inline]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// How many bytes the buffer holds, for [`Self::truncate`].
    #[inline]
    pub fn position(&self) -> usize {
        self.out.len()
    }

    /// Takes back what was written since `position`.
    #[inline]
    pub fn truncate(&mut self, position: usize) {
        self.out.truncate(position);
    }

    /// A simple string: `+OK`. The text must not hold CR or LF.
    #[inline]
    pub fn simple(&mut self, text: &str) {
        self.out.reserve(text.len() + 3);
        self.out.push(b'+');
        self.out.extend_from_slice(text.as_bytes());
        self.out.extend_from_slice(b"\r\n");
    }

    /// `+OK`.
    #[inline]
    pub fn ok(&mut self) {
        self.out.extend_from_slice(b"+OK\r\n");
    }

    /// An error: the whole text, code word included, without `-`. CR and LF at its ends go, others
    /// become spaces, so that what a client sent cannot end the line.
    pub fn error(&mut self, text: &str) {
        let text = text.trim_matches(['\r', '\n']);
        self.out.reserve(text.len() + 3);
        self.out.push(b'-');
        self.out.extend(text.bytes().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { b }));
        self.out.extend_from_slice(b"\r\n");
    }

    /// An integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.head_i64(b':', value);
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.out.reserve(bytes.len() + 24);
        self.head(b'$', bytes.len());
        self.out.extend_from_slice(bytes);
        self.out.extend_from_slice(b"\r\n");
    }

    /// A bulk string of an integer's decimal digits.
    #[inline]
    pub fn bulk_integer(&mut self, value: i64) {
        let mut buffer = itoa::Buffer::new();
        self.bulk(buffer.format(value).as_bytes());
    }

    /// The absence of a value: a null bulk string in RESP2.
    #[inline]
    pub fn null(&mut self) {
        match self.protocol {
            Protocol::Resp2 => self.out.extend_from_slice(b"$-1\r\n"),
            Protocol::Resp3 => self.out.extend_from_slice(b"_\r\n"),
        }
    }

    /// The absence of an array: a null array in RESP2.
    #[inline]
    pub fn null_array(&mut self) {
        match self.protocol {
            Protocol::Resp2 => self.out.extend_from_slice(b"*-1\r\n"),
            Protocol::Resp3 => self.out.extend_from_slice(b"_\r\n"),
        }
    }

    /// The head of an array; its `len` elements follow.
    #[inline]
    pub fn array(&mut self, len: usize) {
        self.head(b'*', len);
    }

    /// The head of a map; `len` keys, each followed by its value, come next.
    pub fn map(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.head(b'*', len * 2),
            Protocol::Resp3 => self.head(b'%', len),
        }
    }

    /// The head of a set; its `len` elements follow.
    pub fn set(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.head(b'*', len),
            Protocol::Resp3 => self.head(b'~', len),
        }
    }

    /// The head of a push; its `len` elements follow.
    pub fn push(&mut self, len: usize) {
        match self.protocol {
            Protocol::Resp2 => self.head(b'*', len),
            Protocol::Resp3 => self.head(b'>', len),
        }
    }

    /// A double; a bulk string in RESP2.
    pub fn double(&mut self, value: f64) {
        let text = format_double(value);
        match self.protocol {
            Protocol::Resp2 => self.bulk(text.as_bytes()),
            Protocol::Resp3 => {
                self.out.push(b',');
                self.out.extend_from_slice(text.as_bytes());
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// A boolean; 1 or 0 in RESP2.
    pub fn boolean(&mut self, value: bool) {
        match self.protocol {
            Protocol::Resp2 => self.integer(i64::from(value)),
            Protocol::Resp3 => {
                self.out.extend_from_slice(if value { b"#t\r\n" } else { b"#f\r\n" })
            }
        }
    }

    /// Text with a three-letter format (`txt`, `mkd`); a bulk string in RESP2.
    pub fn verbatim(&mut self, format: &str, bytes: &[u8]) {
        match self.protocol {
            Protocol::Resp2 => self.bulk(bytes),
            Protocol::Resp3 => {
                self.head(b'=', format.len() + 1 + bytes.len());
                self.out.extend_from_slice(format.as_bytes());
                self.out.push(b':');
                self.out.extend_from_slice(bytes);
                self.out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Bytes that are a reply already.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    #[inline]
    fn head(&mut self, kind: u8, len: usize) {
        self.head_i64(kind, i64::try_from(len).unwrap_or(i64::MAX));
    }

    #[inline]
    fn head_i64(&mut self, kind: u8, value: i64) {
        self.out.reserve(24);
        self.out.push(kind);
        if (0..10).contains(&value) {
            self.out.push(b'0' + value as u8);
        } else {
            let mut buffer = itoa::Buffer::new();
            self.out.extend_from_slice(buffer.format(value).as_bytes());
        }
        self.out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(protocol: Protocol, write: impl FnOnce(&mut Writer)) -> String {
        let mut out = Vec::new();
        write(&mut Writer::new(&mut out, protocol));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn what_resp2_lacks_falls_back_as_in_redis() {
        let all = |w: &mut Writer| {
            w.map(1);
            w.set(2);
            w.push(3);
            w.null();
            w.null_array();
            w.boolean(true);
            w.double(1.5);
            w.verbatim("txt", b"ab");
        };
        assert_eq!(
            written(Protocol::Resp2, all),
            "*2\r\n*2\r\n*3\r\n$-1\r\n*-1\r\n:1\r\n$3\r\n1.5\r\n$2\r\nab\r\n"
        );
        assert_eq!(
            written(Protocol::Resp3, all),
            "%1\r\n~2\r\n>3\r\n_\r\n_\r\n#t\r\n,1.5\r\n=6\r\ntxt:ab\r\n"
        );
    }

    #[test]
    fn an_error_stays_on_its_line() {
        assert_eq!(written(Protocol::Resp2, |w| w.error("ERR a\r\n+OK")), "-ERR a  +OK\r\n");
    }

    #[test]
    fn integers_of_every_size_are_written_in_decimal() {
        for value in [i64::MIN, -1, 0, 9, 10, i64::MAX] {
            assert_eq!(written(Protocol::Resp2, |w| w.integer(value)), format!(":{value}\r\n"));
        }
    }
}
