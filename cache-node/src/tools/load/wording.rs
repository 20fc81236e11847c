//! Requests as RESP has them, and the names of keys.

use std::io::Write as _;

use hypercache_core::resp::{Protocol, Writer};

use super::command::Command;
use super::fault::Fault;
use super::generator::{Request, What};
use super::random::Chance;
use super::sizes::MOST_VALUE_BYTES;

/// Values begin at one of so many places of the same bytes.
const PLACES: u64 = 1024;
/// So many fields and members does a collection have.
const MEMBERS: u64 = 100;
/// One less than Redis's largest value.
const BEYOND: &[u8] = b"536870911";

/// How keys are called, and what values are made of.
#[derive(Debug)]
pub struct Wording {
    prefixes: Vec<String>,
    filler: Vec<u8>,
}

impl Wording {
    /// Keys that begin with one of the prefixes (none: with nothing), values of at most so many bytes.
    pub fn new(mut prefixes: Vec<String>, most_value_bytes: u64, seed: u64) -> Self {
        if prefixes.is_empty() {
            prefixes.push(String::new());
        }
        // Letters and digits, so that values can be looked at; by chance, so that they do not shrink.
        const LETTERS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let mut chance = Chance::new(seed);
        let len = most_value_bytes.min(MOST_VALUE_BYTES) + PLACES;
        let filler = (0..len).map(|_| LETTERS[chance.below(64) as usize]).collect();
        Self { prefixes, filler }
    }

    /// The key of a request.
    pub fn key(&self, request: &Request) -> Vec<u8> {
        let prefix = &self.prefixes[(request.key % self.prefixes.len() as u64) as usize];
        let family = match request.what {
            What::Run(command) => command.family(),
            What::Prepare | What::Provoke(_) => "fault",
        };
        let mut key = Vec::with_capacity(prefix.len() + 28);
        let _ = write!(key, "{prefix}{family}:{}", request.key);
        key
    }

    /// The value that it writes.
    pub fn value(&self, request: &Request) -> &[u8] {
        let from = (request.salt % PLACES) as usize;
        let to = from
            + usize::try_from(request.value_bytes)
                .unwrap_or(usize::MAX)
                .min(self.filler.len() - from);
        &self.filler[from..to]
    }

    /// Appends the frame of a request.
    pub fn frame(&self, request: &Request, out: &mut Vec<u8>) {
        let key = self.key(request);
        let value = self.value(request);
        let member = || format!("m{}", request.salt % MEMBERS).into_bytes();
        match request.what {
            What::Prepare => frame(out, &[b"SET", &key, b"text"]),
            What::Provoke(fault) => provoke(fault, &key, out),
            What::Run(command) => match command {
                Command::Get => frame(out, &[b"GET", &key]),
                Command::Set => match request.ttl_ms {
                    Some(ms) => {
                        frame(out, &[b"SET", &key, value, b"PX", ms.to_string().as_bytes()])
                    }
                    None => frame(out, &[b"SET", &key, value]),
                },
                Command::Del => frame(out, &[b"DEL", &key]),
                Command::Exists => frame(out, &[b"EXISTS", &key]),
                Command::Incr => frame(out, &[b"INCR", &key]),
                Command::Hset => frame(out, &[b"HSET", &key, &member(), value]),
                Command::Hget => frame(out, &[b"HGET", &key, &member()]),
                Command::Lpush => frame(out, &[b"LPUSH", &key, value]),
                Command::Lpop => frame(out, &[b"LPOP", &key]),
                Command::Lrange => frame(out, &[b"LRANGE", &key, b"0", b"9"]),
                Command::Sadd => frame(out, &[b"SADD", &key, &member()]),
                Command::Sismember => frame(out, &[b"SISMEMBER", &key, &member()]),
                Command::Zadd => {
                    let score = (request.salt / MEMBERS % 10_000).to_string();
                    frame(out, &[b"ZADD", &key, score.as_bytes(), &member()]);
                }
                Command::Zrange => frame(out, &[b"ZRANGE", &key, b"0", b"9"]),
            },
        }
    }
}

fn provoke(fault: Fault, key: &[u8], out: &mut Vec<u8>) {
    match fault {
        Fault::WrongType => frame(out, &[b"LPUSHX", key, b"x"]),
        Fault::Arguments => frame(out, &[b"GET"]),
        Fault::Unknown => frame(out, &[b"NOSUCHCOMMAND", key]),
        Fault::Option => frame(out, &[b"SET", key, b"text", b"NOSUCHOPTION"]),
        Fault::Number => frame(out, &[b"INCRBY", key, b"many"]),
        Fault::Oversized => frame(out, &[b"SETRANGE", key, BEYOND, b"xx"]),
        Fault::Password => frame(out, &[b"AUTH", b"surely-not-the-password"]),
        Fault::Frame => out.extend_from_slice(b"*1\r\n$-9\r\n"),
    }
}

/// Appends a command.
pub fn frame(out: &mut Vec<u8>, words: &[&[u8]]) {
    let mut writer = Writer::new(out, Protocol::Resp2);
    writer.array(words.len());
    words.iter().for_each(|word| writer.bulk(word));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(what: What) -> Request {
        Request { what, key: 7, salt: 205, value_bytes: 4, ttl_ms: Some(1500) }
    }

    fn wording(prefixes: &[&str]) -> Wording {
        Wording::new(prefixes.iter().map(|p| (*p).to_owned()).collect(), 64, 1)
    }

    fn words(request: &Request) -> Vec<String> {
        let mut out = Vec::new();
        wording(&["load:"]).frame(request, &mut out);
        let text = String::from_utf8(out).unwrap();
        text.split("\r\n").skip(2).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn commands_are_written_with_their_keys_values_and_lifetimes() {
        let set = request(What::Run(Command::Set));
        let value = String::from_utf8(wording(&["load:"]).value(&set).to_vec()).unwrap();
        assert_eq!(value.len(), 4);
        assert_eq!(words(&set), ["SET", "load:string:7", &value, "PX", "1500"]);
        assert_eq!(words(&request(What::Run(Command::Hget))), ["HGET", "load:hash:7", "m5"]);
        assert_eq!(words(&request(What::Run(Command::Zadd))), ["ZADD", "load:zset:7", "2", "m5"]);
        assert_eq!(words(&request(What::Prepare)), ["SET", "load:fault:7", "text"]);
        let wrong = request(What::Provoke(Fault::WrongType));
        assert_eq!(words(&wrong), ["LPUSHX", "load:fault:7", "x"]);
    }

    #[test]
    fn a_key_has_always_the_same_of_several_prefixes() {
        let wording = wording(&["page:", "user:"]);
        let mut request = request(What::Run(Command::Get));
        assert_eq!(wording.key(&request), b"user:string:7");
        request.key = 8;
        assert_eq!(wording.key(&request), b"page:string:8");
    }

    #[test]
    fn a_value_is_as_large_as_it_should_be_wherever_it_begins() {
        let wording = Wording::new(Vec::new(), 64, 1);
        for salt in 0..3000 {
            let request = Request { salt, value_bytes: 64, ..request(What::Prepare) };
            assert_eq!(wording.value(&request).len(), 64);
        }
    }
}
