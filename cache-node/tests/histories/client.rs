//! One client: a connection of a client library to one member at a time, and what it was told.

use super::nodes::At;
use super::op::{Action, Answer, Event};
use std::time::{Duration, Instant};

/// How long a client waits for an answer.
pub const TIMEOUT: Duration = Duration::from_secs(8);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Errors that say that nothing was done.
const NOTHING_DONE: [&str; 5] = [
    "NOREPLICAS",
    "LOADING",
    "MISCONF Errors writing to the AOF file",
    "CLUSTERDOWN The cluster is down",
    "CLUSTERDOWN Hash slot not served",
];

/// A client with at most one connection.
pub struct Client {
    id: usize,
    began: Instant,
    member: usize,
    connection: Option<redis::Connection>,
}

impl Client {
    /// One that counts time since `began`.
    pub fn new(id: usize, began: Instant) -> Self {
        Self { id, began, member: 0, connection: None }
    }

    /// Talks to this member from now on.
    pub fn turn_to(&mut self, member: usize) {
        if member != self.member {
            self.member = member;
            self.connection = None;
        }
    }

    /// Whether a connection is there, made if it must be.
    pub fn connect(&mut self, at: &[At]) -> bool {
        if self.connection.is_none() {
            let At { host, resp, .. } = &at[self.member];
            let made = redis::Client::open(format!("redis://{host}:{resp}/"))
                .and_then(|client| client.get_connection_with_timeout(CONNECT_TIMEOUT));
            if let Ok(connection) = made {
                let set = connection.set_read_timeout(Some(TIMEOUT));
                let set = set.and_then(|()| connection.set_write_timeout(Some(TIMEOUT)));
                self.connection = set.is_ok().then_some(connection);
            }
        }
        self.connection.is_some()
    }

    /// Does it once over the connection that must be there, and says what came of it.
    pub fn run(&mut self, key: &str, action: Action) -> Event {
        let called_ns = self.now_ns();
        let said = match &mut self.connection {
            Some(connection) => ask(connection, key, action),
            None => return self.event(key, action, Answer::Refused, called_ns, "no connection"),
        };
        match said {
            Ok(answer) => self.event(key, action, answer, called_ns, ""),
            Err(error) => {
                let text = error.to_string();
                let server = format!(
                    "{} {}",
                    error.code().unwrap_or_default(),
                    error.detail().unwrap_or_default()
                );
                if error.code().is_none() {
                    self.connection = None;
                }
                let nothing = NOTHING_DONE.iter().any(|known| server.starts_with(known));
                let answer = if nothing { Answer::Refused } else { Answer::Unknown };
                let note = if error.code().is_some() { server } else { text };
                self.event(key, action, answer, called_ns, &note)
            }
        }
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap()
    }

    fn event(
        &self,
        key: &str,
        action: Action,
        answer: Answer,
        called_ns: u64,
        note: &str,
    ) -> Event {
        let (client, key, answered_ns) = (self.id, key.to_owned(), self.now_ns());
        let note = format!("m-{} {note}", self.member);
        Event { client, key, action, answer, called_ns, answered_ns, note }
    }
}

fn ask(
    connection: &mut redis::Connection,
    key: &str,
    action: Action,
) -> redis::RedisResult<Answer> {
    let value = |found: Option<i64>| Answer::Value(found);
    match action {
        Action::Get => redis::cmd("GET").arg(key).query(connection).map(value),
        Action::Set(new) => {
            redis::cmd("SET").arg(key).arg(new).query(connection).map(|()| Answer::Ok)
        }
        Action::SetNx(new) => {
            let set = redis::cmd("SET").arg(key).arg(new).arg("NX").query(connection);
            set.map(|set: bool| if set { Answer::Ok } else { Answer::Value(None) })
        }
        Action::GetSet(new) => redis::cmd("GETSET").arg(key).arg(new).query(connection).map(value),
        Action::Incr => redis::cmd("INCR").arg(key).query(connection).map(Answer::Count),
        Action::Del => redis::cmd("DEL").arg(key).query(connection).map(Answer::Count),
    }
}
