//! What comes back for a request.

use hypercache_core::resp::ReplyScan;

/// An answer, as far as it is counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It was done.
    Fine,
    /// The key is not there.
    Missing,
    /// An error, from its `-` on, without the end of its line.
    Error(Box<[u8]>),
}

/// An answer among others.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// How many bytes it took.
    pub len: usize,
    /// What it says.
    pub answer: Answer,
    /// Whether the connection ends with it.
    pub closes: bool,
}

/// The first RESP reply in `bytes`, of which `scan` has seen the beginning; `None` while it is not whole.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode(bytes: &[u8], scan: &mut ReplyScan) -> Result<Option<Decoded>, String> {
    let Some(len) = scan.advance(bytes).map_err(|error| error.0)? else { return Ok(None) };
    *scan = ReplyScan::default();
    let answer = match &bytes[..len] {
        [b'-', ..] => {
            let end = memchr::memchr(b'\r', bytes).unwrap_or(len);
            Answer::Error(bytes[..end].into())
        }
        b"$-1\r\n" | b"*-1\r\n" | b"_\r\n" => Answer::Missing,
        _ => Answer::Fine,
    };
    Ok(Some(Decoded { len, answer, closes: false }))
}

/// Where a server sends a client to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// For this request only, and announced by ASKING.
    pub ask: bool,
    /// The slot.
    pub slot: u16,
    /// `HOST:PORT`.
    pub address: String,
}

impl Redirect {
    /// The redirection in an error, if it is one. A host that is empty is the one that was asked.
    pub fn parse(error: &[u8], asked: &str) -> Option<Self> {
        let text = std::str::from_utf8(error).ok()?;
        let mut words = text.split(' ');
        let ask = match words.next()? {
            "-MOVED" => false,
            "-ASK" => true,
            _ => return None,
        };
        let slot =
            words.next()?.parse().ok().filter(|slot| *slot < hypercache_core::cluster::SLOTS)?;
        let address = words.next()?;
        let (host, port) = address.rsplit_once(':')?;
        port.parse::<u16>().ok()?;
        let host = if host.is_empty() { asked.rsplit_once(':')?.0 } else { host };
        Some(Self { ask, slot, address: format!("{host}:{port}") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Option<Decoded>, String> {
        decode(bytes, &mut ReplyScan::default())
    }

    #[test]
    fn replies_are_fine_missing_or_errors() {
        for (bytes, wanted) in [
            (&b"+OK\r\n"[..], Answer::Fine),
            (b":5\r\n", Answer::Fine),
            (b"*2\r\n$1\r\na\r\n$-1\r\n", Answer::Fine),
            (b"$-1\r\n", Answer::Missing),
            (b"*-1\r\n", Answer::Missing),
            (b"-WRONGTYPE no\r\n", Answer::Error(b"-WRONGTYPE no".as_slice().into())),
        ] {
            let found = read(&[bytes, b"+next"].concat()).unwrap().unwrap();
            assert_eq!(found, Decoded { len: bytes.len(), answer: wanted, closes: false });
            assert_eq!(read(&bytes[..bytes.len() - 1]), Ok(None));
        }
        assert!(read(b"HTTP/1.1 400 Bad Request\r\n").is_err());
    }

    #[test]
    fn redirections_say_where_to() {
        let parse = |text: &str| Redirect::parse(text.as_bytes(), "asked:1");
        let moved = Redirect { ask: false, slot: 42, address: "10.0.0.1:7".into() };
        assert_eq!(parse("-MOVED 42 10.0.0.1:7"), Some(moved));
        let ask = Redirect { ask: true, slot: 1, address: "asked:9".into() };
        assert_eq!(parse("-ASK 1 :9"), Some(ask));
        assert_eq!(parse("-MOVED 1 ::1:9").unwrap().address, "::1:9");
        for none in
            ["-MOVED", "-MOVED 1", "-MOVED x a:1", "-MOVED 16384 a:1", "-MOVED 1 a:x", "-ERR 1 a:1"]
        {
            assert_eq!(parse(none), None, "{none}");
        }
    }
}
