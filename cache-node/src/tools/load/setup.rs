//! A load as it is carried out: what the command line asked for, checked.

use std::time::Duration;

use super::generator::Mix;
use super::http::Style;
use super::lane::Hello;
use super::pace::{Pace, Share};
use super::random::Weighted;
use super::wording::Wording;

/// See the module.
#[derive(Debug)]
pub struct Setup {
    /// `HOST:PORT` of the servers.
    pub targets: Vec<String>,
    /// HTTP rather than RESP.
    pub http: bool,
    /// Each request goes to its slot's owner.
    pub cluster: bool,
    /// The password.
    pub password: Option<String>,
    /// The names or numbers of the stores, and which one a connection uses.
    pub stores: Vec<String>,
    /// The places of stores, with their weights.
    pub store_weights: Option<Weighted<usize>>,
    /// How many connections there are.
    pub connections: usize,
    /// How many threads carry them.
    pub threads: usize,
    /// Requests of a connection that may be without an answer.
    pub window: usize,
    /// The open loop's requests a second; `None` in the closed loop.
    pub rate: Option<u64>,
    /// Requests that may be late, of all connections together.
    pub backlog: u64,
    /// When it ends.
    pub duration: Option<Duration>,
    /// How many requests there are.
    pub requests: Option<u64>,
    /// How long an answer, or a connection, may take.
    pub patience: Duration,
    /// How many keys there are.
    pub keys: u64,
    /// Whether all keys are written first.
    pub fill: bool,
    /// The seed.
    pub seed: u64,
    /// What is asked.
    pub mix: Mix,
    /// How it is written.
    pub wording: Wording,
}

impl Setup {
    /// The store of a connection.
    fn store(&self, connection: usize) -> Option<String> {
        let place = self.store_weights.as_ref()?.deal(connection as u64);
        self.stores.get(place).cloned()
    }

    /// What a connection says first.
    pub fn hello(&self, connection: usize) -> Hello {
        Hello { http: self.http, password: self.password.clone(), store: self.store(connection) }
    }

    /// How a connection asks over HTTP.
    pub fn style(&self, connection: usize) -> Style {
        let host = self.targets.get(connection % self.targets.len().max(1)).cloned();
        let host = host.unwrap_or_default();
        Style { host, store: self.store(connection), password: self.password.clone() }
    }

    /// The pace of a connection.
    pub fn pace(&self, connection: usize) -> Pace {
        let until =
            self.duration.map_or(u64::MAX, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX));
        let (connection, connections) = (connection as u64, self.connections.max(1) as u64);
        let most = self.requests.map_or(u64::MAX, |all| share_of(all, connection, connections));
        let share = self.rate.map(|rate| Share {
            rate: rate.max(1),
            connection,
            connections,
            most_late: self.backlog.div_ceil(connections),
        });
        Pace::new(share, self.window, most, until)
    }

    /// The pace at which a connection fills keys in: as fast as it goes.
    pub fn filling_pace(&self, connection: usize) -> Pace {
        let most = share_of(self.keys, connection as u64, self.connections.max(1) as u64);
        Pace::new(None, self.window.max(FILLING_WINDOW), most, u64::MAX)
    }
}

/// Requests without an answer while keys are filled in.
const FILLING_WINDOW: usize = 32;

/// How many of so many are a connection's, dealt out in turn.
fn share_of(all: u64, connection: u64, connections: u64) -> u64 {
    all / connections + u64::from(connection < all % connections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_requests_are_some_connection_s() {
        for (all, connections) in [(10, 3), (2, 5), (0, 1), (1_000_000, 7)] {
            let shares = (0..connections).map(|connection| share_of(all, connection, connections));
            assert_eq!(shares.sum::<u64>(), all, "{all} over {connections}");
        }
    }
}
