//! Requests as HTTP has them, and where their answers end.

use std::io::Write as _;

use super::answer::{Answer, Decoded};
use super::command::Command;
use super::fault::Fault;
use super::generator::{Request, What};
use super::wording::Wording;

/// The most headers of an answer.
const MOST_HEADERS: usize = 64;
/// One byte more than a value may have.
const BEYOND_BYTES: u64 = (512 << 20) + 1;

/// Whom and how to ask.
#[derive(Debug)]
pub struct Style {
    /// The address, as a header tells it.
    pub host: String,
    /// The store's name; `None` for the one that is there without being named.
    pub store: Option<String>,
    /// The password.
    pub password: Option<String>,
}

impl Style {
    /// Appends a request. Commands that HTTP does not have are not asked for.
    pub fn request(&self, request: &Request, wording: &Wording, out: &mut Vec<u8>) {
        let key = wording.key(request);
        let mut value: &[u8] = b"";
        let mut query = self
            .store
            .iter()
            .map(|name| format!("store={}", escaped(name.as_bytes())))
            .collect::<Vec<_>>();
        let mut path = format!("/api/cache/{}", escaped(&key));
        let mut announced = None;
        let method = match request.what {
            What::Run(Command::Set) => {
                value = wording.value(request);
                query.extend(request.ttl_ms.map(|ms| format!("ttl_seconds={}", ms as f64 / 1e3)));
                "PUT"
            }
            What::Run(Command::Del) => "DELETE",
            What::Prepare => {
                value = b"text";
                "PUT"
            }
            What::Provoke(Fault::Unknown) => {
                path = "/api/no-such-path".to_owned();
                query.clear();
                "GET"
            }
            What::Provoke(Fault::Option) => {
                query.push("no_such_option=1".to_owned());
                "GET"
            }
            What::Provoke(Fault::Arguments) => {
                value = b"{";
                "PUT"
            }
            What::Provoke(Fault::Oversized) => {
                announced = Some(BEYOND_BYTES);
                "PUT"
            }
            What::Run(_) | What::Provoke(_) => "GET",
        };
        let query = if query.is_empty() { String::new() } else { format!("?{}", query.join("&")) };
        let _ = write!(out, "{method} {path}{query} HTTP/1.1\r\nhost: {}\r\n", self.host);
        let _ = match (request.what, &self.password) {
            (What::Provoke(Fault::Password), _) => {
                write!(out, "authorization: Bearer surely-not-the-password\r\n")
            }
            (_, Some(password)) => write!(out, "authorization: Bearer {password}\r\n"),
            (_, None) => Ok(()),
        };
        if method == "PUT" {
            let kind = match request.what {
                What::Provoke(Fault::Arguments) => "application/json",
                _ => "application/octet-stream",
            };
            let length = announced.unwrap_or(value.len() as u64);
            let _ = write!(out, "content-type: {kind}\r\ncontent-length: {length}\r\n\r\n");
            out.extend_from_slice(value);
        } else {
            out.extend_from_slice(b"accept: application/octet-stream\r\n\r\n");
        }
    }
}

/// Bytes in a path or a query.
fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b':' => {
                text.push(char::from(*byte));
            }
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}

/// The first answer in `bytes`, to a request for that; `None` while it is not whole.
///
/// # Errors
/// What is wrong with the bytes.
pub fn decode(bytes: &[u8], what: What) -> Result<Option<Decoded>, String> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let head = match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("the answer is no HTTP: {error}")),
    };
    let status = response.code.unwrap_or(0);
    let header = |name: &str| {
        let found = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
        found.map(|h| String::from_utf8_lossy(h.value).to_ascii_lowercase())
    };
    let rest = &bytes[head..];
    let body = match (header("transfer-encoding"), header("content-length")) {
        _ if matches!(status, 204 | 304) => Some(0),
        (Some(coding), _) if coding.contains("chunked") => chunked(rest)?,
        (_, Some(length)) => {
            let wrong = |_| format!("content-length '{length}' is no number");
            let length: usize = length.trim().parse().map_err(wrong)?;
            (rest.len() >= length).then_some(length)
        }
        _ => return Err("the answer does not say where it ends".to_owned()),
    };
    let Some(body) = body else { return Ok(None) };
    let reads = matches!(what, What::Run(Command::Get | Command::Del));
    let answer = match status {
        200..300 => Answer::Fine,
        404 if reads => Answer::Missing,
        status => Answer::Error(format!("-HTTP{status}").into_bytes().into()),
    };
    let closes = header("connection").is_some_and(|value| value.contains("close"));
    Ok(Some(Decoded { len: head + body, answer, closes }))
}

/// How long a body in chunks is; `None` while it is not whole.
fn chunked(bytes: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let (line, size) = match httparse::parse_chunk_size(rest) {
            Ok(httparse::Status::Complete(found)) => found,
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err("a chunk of the answer has no size".to_owned()),
        };
        let size =
            usize::try_from(size).map_err(|_| "a chunk of the answer is too large".to_owned())?;
        // Servers of caches send no trailers.
        at = at.saturating_add(line).saturating_add(size).saturating_add(2);
        if at > bytes.len() {
            return Ok(None);
        }
        if size == 0 {
            return Ok(Some(at));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: What = What::Run(Command::Get);

    fn text(what: What) -> String {
        let style =
            Style { host: "m:9080".into(), store: Some("a b".into()), password: Some("p".into()) };
        let request = Request { what, key: 1, salt: 0, value_bytes: 3, ttl_ms: Some(1500) };
        let mut out = Vec::new();
        style.request(&request, &Wording::new(vec!["x/".into()], 10, 1), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn requests_name_key_store_lifetime_and_password() {
        let set = text(What::Run(Command::Set));
        let head = "PUT /api/cache/x%2Fstring:1?store=a%20b&ttl_seconds=1.5 HTTP/1.1\r\nhost: m:9080\r\nauthorization: Bearer p\r\n";
        assert!(set.starts_with(head), "{set}");
        assert!(set.contains("content-length: 3\r\n\r\n"), "{set}");
        assert!(text(GET).starts_with("GET /api/cache/x%2Fstring:1?store=a%20b HTTP/1.1\r\n"));
        assert!(text(What::Provoke(Fault::Password)).contains("surely-not"));
        assert!(
            text(What::Provoke(Fault::Oversized)).contains("content-length: 536870913\r\n\r\n")
        );
    }

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        for end in 0..whole.len() {
            assert_eq!(decode(&whole[..end], GET), Ok(None), "{end}");
        }
        let found = decode(&[&whole[..], b"HTTP/1.1"].concat(), GET).unwrap().unwrap();
        assert_eq!(found, Decoded { len: whole.len(), answer: Answer::Fine, closes: false });
    }

    #[test]
    fn an_answer_in_chunks_ends_with_the_empty_one() {
        let whole = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n";
        for end in 0..whole.len() {
            assert_eq!(decode(&whole[..end], GET), Ok(None), "{end}");
        }
        assert_eq!(decode(whole, GET).unwrap().unwrap().len, whole.len());
    }

    #[test]
    fn a_key_that_is_missing_is_no_error_and_a_path_that_is_missing_is_one() {
        let bytes = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        let found = decode(bytes, GET).unwrap().unwrap();
        assert_eq!((found.answer, found.closes), (Answer::Missing, true));
        let found = decode(bytes, What::Provoke(Fault::Unknown)).unwrap().unwrap();
        assert_eq!(found.answer, Answer::Error(b"-HTTP404".as_slice().into()));
    }

    #[test]
    fn what_is_no_answer_is_refused() {
        assert!(decode(b"-ERR no\r\n", GET).is_err());
        assert!(decode(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", GET).is_err());
        assert!(decode(b"HTTP/1.1 200 OK\r\n\r\n", GET).unwrap_err().contains("where it ends"));
        assert!(
            decode(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", GET).is_err()
        );
    }
}
