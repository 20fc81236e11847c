//! One socket to one server: bytes that wait to be written, requests that wait for their answers.

use std::collections::VecDeque;
use std::future::Future as _;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hypercache_core::resp::{Reply, ReplyScan};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::answer::{self, Answer, Decoded};
use super::fault::Fault;
use super::generator::{Request, What};
use super::http;
use super::wording::frame;

/// While so much waits to be written, no more is asked.
const MUCH_BYTES: usize = 1 << 20;
/// The largest answer.
const MOST_ANSWER_BYTES: usize = 64 << 20;
/// What is read at once.
const READ_BYTES: usize = 64 << 10;
/// Room beyond this is given back when it is empty.
const KEPT_BYTES: usize = 256 << 10;

/// A request on its way.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// It; `None` for an ASKING.
    pub request: Option<Request>,
    /// When it should have been sent.
    pub intended_ns: u64,
    /// When it was handed to the socket.
    pub sent_ns: u64,
    /// How often it was sent somewhere else.
    pub hops: u8,
}

/// What is said first on a connection.
#[derive(Debug, Clone, Default)]
pub struct Hello {
    /// HTTP, which says nothing first.
    pub http: bool,
    /// AUTH.
    pub password: Option<String>,
    /// SELECT.
    pub store: Option<String>,
}

/// Why a connection cannot be used, or there was no load.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody is there, or not in time.
    #[error("{0}")]
    Unreachable(String),
    /// It answers, and says no; or it cannot be done as it was asked for.
    #[error("{0}")]
    Refused(String),
}

/// See the module.
#[derive(Debug)]
pub struct Lane {
    /// `HOST:PORT` of the other end.
    pub address: String,
    /// Requests that wait for answers, in their order.
    pub sent: VecDeque<Sent>,
    /// Nothing more is asked: the server ends it.
    pub closing: bool,
    stream: TcpStream,
    http: bool,
    out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    scan: ReplyScan,
}

impl Lane {
    /// Opens a connection and says hello.
    ///
    /// # Errors
    /// Why that is not possible.
    pub async fn open(address: &str, hello: &Hello, patience: Duration) -> Result<Self, Error> {
        let opened = tokio::time::timeout(patience, Self::connect(address, hello)).await;
        let late = |_| Error::Unreachable(format!("{address}: no answer in {patience:?}"));
        opened.map_err(late)?
    }

    async fn connect(address: &str, hello: &Hello) -> Result<Self, Error> {
        let lost = |error: io::Error| Error::Unreachable(format!("{address}: {error}"));
        let stream = TcpStream::connect(address).await.map_err(lost)?;
        stream.set_nodelay(true).map_err(lost)?;
        let mut lane = Self {
            address: address.to_owned(),
            sent: VecDeque::new(),
            closing: false,
            stream,
            http: hello.http,
            out: Vec::new(),
            written: 0,
            input: Vec::new(),
            scan: ReplyScan::default(),
        };
        if hello.http {
            return Ok(lane);
        }
        let words = [("AUTH", &hello.password), ("SELECT", &hello.store)];
        for (command, word) in words.into_iter().filter_map(|(c, word)| Some((c, word.as_ref()?))) {
            if let Reply::Error(text) = lane.ask(&[command.as_bytes(), word.as_bytes()]).await? {
                return Err(Error::Refused(format!("{address}: {command}: {text}")));
            }
        }
        Ok(lane)
    }

    /// Sends a command and waits for its reply. Only while nothing else is on its way.
    ///
    /// # Errors
    /// The connection ends, or what comes is no reply.
    pub async fn ask(&mut self, words: &[&[u8]]) -> Result<Reply, Error> {
        let lost = |why: String| Error::Unreachable(format!("{}: {why}", self.address));
        let mut out = Vec::new();
        frame(&mut out, words);
        self.stream.write_all(&out).await.map_err(|error| lost(error.to_string()))?;
        let mut input = Vec::new();
        loop {
            match Reply::parse(&input).map_err(|error| lost(error.0))? {
                Some((reply, _)) => return Ok(reply),
                None if input.len() > MOST_ANSWER_BYTES => {
                    return Err(lost("the reply has no end".to_owned()));
                }
                None => {}
            }
            let read =
                self.stream.read_buf(&mut input).await.map_err(|error| lost(error.to_string()))?;
            if read == 0 {
                return Err(lost("the server ended the connection".to_owned()));
            }
        }
    }

    /// Whether more may be asked.
    pub fn has_room(&self) -> bool {
        !self.closing && self.out.len() - self.written < MUCH_BYTES
    }

    /// Asks: `write` appends the bytes.
    pub fn push(&mut self, sent: Sent, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.out);
        if let Some(Request { what: What::Provoke(fault), .. }) = sent.request {
            self.closing |= Fault::ends_connection(fault, self.http);
        }
        self.sent.push_back(sent);
    }

    /// Writes and reads what is possible; answers are appended to `answers`.
    ///
    /// # Errors
    /// Why the connection is no longer one.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        answers: &mut Vec<(Sent, Answer)>,
    ) -> Poll<Result<(), String>> {
        let _ = self.poll_write(cx)?;
        self.poll_read(cx, answers)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, String> {
        while self.written < self.out.len() {
            let rest = &self.out[self.written..];
            match Pin::new(&mut self.stream).poll_write(cx, rest) {
                Poll::Ready(Ok(0)) => return Err("closed".to_owned()),
                Poll::Ready(Ok(n)) => self.written += n,
                // What the server said before it ended the connection may still be there to be read.
                Poll::Ready(Err(_)) if self.closing => self.written = self.out.len(),
                Poll::Ready(Err(error)) => return Err(error.to_string()),
                Poll::Pending => return Ok(Poll::Pending),
            }
        }
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        self.written = 0;
        Ok(Poll::Ready(()))
    }

    /// Ready with at least one answer.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        answers: &mut Vec<(Sent, Answer)>,
    ) -> Poll<Result<(), String>> {
        let before = answers.len();
        while answers.len() == before {
            self.input.reserve(READ_BYTES);
            // It keeps nothing between two polls, so each may have one of its own.
            let read = pin!(self.stream.read_buf(&mut self.input)).poll(cx);
            match ready!(read) {
                Ok(0) => return Poll::Ready(Err("closed".to_owned())),
                Ok(_) => self.decode(answers)?,
                Err(error) => return Poll::Ready(Err(error.to_string())),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn decode(&mut self, answers: &mut Vec<(Sent, Answer)>) -> Result<(), String> {
        let mut at = 0;
        while at < self.input.len() {
            let bytes = &self.input[at..];
            let Some(first) = self.sent.front() else {
                return Err("something came that nobody asked for".to_owned());
            };
            let decoded = match (self.http, first.request) {
                (true, Some(request)) => http::decode(bytes, request.what)?,
                _ => answer::decode(bytes, &mut self.scan)?,
            };
            let Some(Decoded { len, answer, closes }) = decoded else { break };
            at += len;
            self.closing |= closes;
            answers.extend(self.sent.pop_front().map(|sent| (sent, answer)));
        }
        self.input.drain(..at);
        if self.input.is_empty() {
            self.input.shrink_to(KEPT_BYTES);
        }
        match self.input.len() {
            0..=MOST_ANSWER_BYTES => Ok(()),
            _ => Err("an answer has no end".to_owned()),
        }
    }
}

/// Polls lanes until one has answers, or is no longer one: its place and why.
pub fn poll_any(
    lanes: &mut [Lane],
    cx: &mut Context<'_>,
    answers: &mut Vec<(Sent, Answer)>,
) -> Poll<Option<(usize, String)>> {
    let mut any = false;
    for (place, lane) in lanes.iter_mut().enumerate() {
        match lane.poll(cx, answers) {
            Poll::Ready(Ok(())) => any = true,
            Poll::Ready(Err(why)) => return Poll::Ready(Some((place, why))),
            Poll::Pending => {}
        }
    }
    match any {
        true => Poll::Ready(None),
        false => Poll::Pending,
    }
}
