//! From host names to addresses, without waiting for the resolver.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};

const KEPT: Duration = Duration::from_secs(5);
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);
const MAX_KNOWN: usize = 4096;
const MAX_ASKED: usize = 64;

/// What was asked of the resolver, and what it said.
pub struct Answer {
    pub host: String,
    pub port: u16,
    pub addresses: Vec<SocketAddr>,
    /// Whether the join list asked.
    pub join: bool,
}

/// Resolved names, for a few seconds.
pub struct Addresses {
    known: HashMap<(String, u16), (Instant, Vec<SocketAddr>)>,
    asked: usize,
    answers: mpsc::Sender<Answer>,
    /// Whether the socket speaks IPv6.
    v6: bool,
}

/// The address as a socket of that family has it; `None` when it cannot reach it.
pub fn reachable(address: SocketAddr, v6: bool) -> Option<SocketAddr> {
    match (address, v6) {
        (SocketAddr::V4(_), false) | (SocketAddr::V6(_), true) => Some(address),
        (SocketAddr::V4(v4), true) => {
            Some(SocketAddr::new(IpAddr::V6(v4.ip().to_ipv6_mapped()), v4.port()))
        }
        (SocketAddr::V6(_), false) => None,
    }
}

impl Addresses {
    /// Answers of the resolver go into `answers` and must come back by [`Self::learn`].
    pub fn new(answers: mpsc::Sender<Answer>, v6: bool) -> Self {
        Self { known: HashMap::new(), asked: 0, answers, v6 }
    }

    /// The address of a host; asks the resolver when it is not known.
    pub fn of(&mut self, host: &str, port: u16) -> Option<SocketAddr> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return reachable(SocketAddr::new(ip, port), self.v6);
        }
        match self.known.get(&(host.to_owned(), port)) {
            Some((at, addresses)) if at.elapsed() < KEPT => {
                addresses.iter().find_map(|address| reachable(*address, self.v6))
            }
            _ => {
                self.ask(host, port, false);
                None
            }
        }
    }

    /// Asks the resolver for all addresses of a host.
    pub fn ask(&mut self, host: &str, port: u16, join: bool) {
        if self.asked >= MAX_ASKED {
            return;
        }
        self.asked += 1;
        let (host, answers) = (host.to_owned(), self.answers.clone());
        tokio::spawn(async move {
            let found = timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host.as_str(), port)));
            let addresses = match found.await {
                Ok(Ok(found)) => found.collect(),
                Ok(Err(error)) => {
                    tracing::debug!(
                        action = "name-not-resolved",
                        host,
                        %error,
                        "a name does not resolve (yet)"
                    );
                    Vec::new()
                }
                Err(_) => Vec::new(),
            };
            let _ = answers.send(Answer { host, port, addresses, join }).await;
        });
    }

    /// Remembers an answer.
    pub fn learn(&mut self, answer: &Answer) {
        self.asked = self.asked.saturating_sub(1);
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        let key = (answer.host.clone(), answer.port);
        self.known.insert(key, (Instant::now(), answer.addresses.clone()));
    }
}

/// Splits `HOST:PORT`, also `[v6]:PORT`.
pub fn host_and_port(entry: &str) -> Option<(String, u16)> {
    let (host, port) = entry.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let port = port.parse().ok()?;
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_reaches_addresses_of_its_family_and_ipv6_reaches_both() {
        let (four, six) = ("127.0.0.1:7".parse().unwrap(), "[::1]:7".parse().unwrap());
        assert_eq!(reachable(four, false), Some(four));
        assert_eq!(reachable(six, false), None);
        assert_eq!(reachable(six, true), Some(six));
        assert_eq!(reachable(four, true), Some("[::ffff:127.0.0.1]:7".parse().unwrap()));
    }

    #[test]
    fn a_join_entry_is_a_host_and_a_port() {
        assert_eq!(host_and_port("demo:7946"), Some(("demo".into(), 7946)));
        assert_eq!(host_and_port("[::1]:1"), Some(("::1".into(), 1)));
        assert_eq!(host_and_port("demo"), None);
        assert_eq!(host_and_port(":1"), None);
        assert_eq!(host_and_port("demo:70000"), None);
    }
}
