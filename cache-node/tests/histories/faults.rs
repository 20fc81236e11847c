//! What is done to the members, as a seed says.

use super::nodes::{Nodes, members};
use super::world::{self, Net};
use rand::{RngExt, rngs::StdRng, seq::SliceRandom};
use serde_json::Value;
use std::time::{Duration, Instant};

/// Which faults a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A member is killed and started again; only where all owners have everything, as stores in
    /// memory survive that only.
    CarefulKill,
    /// Two at once, where there are enough copies for that.
    CarefulKillTwo,
    /// The store `o` gets another replication factor, and a member is killed while that is on its way.
    Copies,
    /// One or more are killed, whatever the state.
    Kill,
    /// All are killed at once.
    KillAll,
    /// One or two stop for up to 3 s.
    Pause,
    /// A minority is cut off from the others.
    Minority,
    /// Ways between members are cut in one direction.
    OneWay,
    /// Nobody reaches anybody.
    Shatter,
    /// A disk has no room.
    FullDisk,
    /// A member leaves, and comes back.
    Scale,
}

/// Something that was done to the members.
pub struct Done {
    pub from: Duration,
    pub until: Duration,
    pub what: String,
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (from, until) = (self.from.as_secs_f64(), self.until.as_secs_f64());
        write!(f, "{from:6.2}-{until:.2} s {}", self.what)
    }
}

/// Does one thing after another until the time is over; gives what it did. Everything is whole again
/// at the end, or an error says what is not.
pub fn run(
    nodes: &mut Nodes,
    kinds: &[Kind],
    random: &mut StdRng,
    began: Instant,
    length: Duration,
) -> Result<Vec<Done>, String> {
    let mut done = Vec::new();
    let mut queue: Vec<Kind> = Vec::new();
    pause(random, 500..1000);
    while began.elapsed() < length {
        if queue.is_empty() {
            queue = kinds.to_vec();
            queue.shuffle(random);
        }
        let Some(kind) = queue.pop() else { break };
        let from = began.elapsed();
        let what = carry_out(nodes, kind, random)?;
        let fault = Done { from, until: began.elapsed(), what };
        println!("  {fault}");
        done.push(fault);
        pause(random, 300..1500);
    }
    nodes.wait_for("whole after the last fault", super::nodes::PATIENCE, Nodes::settled)?;
    Ok(done)
}

/// Lets a fault last, or the cluster run.
fn pause(random: &mut StdRng, ms: std::ops::Range<u64>) {
    let until = Instant::now() + Duration::from_millis(random.random_range(ms));
    while let Some(left) = until.checked_duration_since(Instant::now()) {
        std::thread::park_timeout(left);
    }
}

fn carry_out(nodes: &mut Nodes, kind: Kind, random: &mut StdRng) -> Result<String, String> {
    let mut who = nodes.running();
    who.shuffle(random);
    let places = nodes.at.len();
    let first = who[0];
    match kind {
        Kind::CarefulKill | Kind::CarefulKillTwo => {
            let killed = &who[..if kind == Kind::CarefulKill { 1 } else { 2 }];
            nodes.wait_for("whole before a kill", super::nodes::PATIENCE, Nodes::settled)?;
            killed.iter().for_each(|i| nodes.kill(*i));
            pause(random, 100..2000);
            killed.iter().for_each(|i| nodes.launch(*i));
            nodes.wait_for("whole after a kill", super::nodes::PATIENCE, Nodes::settled)?;
            Ok(format!("killed {killed:?}, carefully"))
        }
        Kind::Copies => {
            nodes.wait_for("whole before", super::nodes::PATIENCE, Nodes::settled)?;
            let factor = random.random_range(1..=3);
            let body = format!("{{\"replication_factor\":{factor}}}");
            nodes.tell("PATCH", "/api/stores/o", &body)?;
            pause(random, 1..300);
            nodes.kill(first);
            pause(random, 100..1000);
            nodes.launch(first);
            nodes.wait_for("as many copies", super::nodes::PATIENCE, |status| {
                let mut stores = status["stores"].as_array().into_iter().flatten();
                let is_it =
                    |s: &Value| s["name"] == "o" && s["replication_factor_in_force"] == factor;
                Nodes::settled(status) && stores.any(is_it)
            })?;
            Ok(format!("{factor} copies of o, and killed m-{first}"))
        }
        Kind::Kill | Kind::KillAll => {
            let count = if kind == Kind::KillAll { who.len() } else { random.random_range(1..=2) };
            let killed = &who[..count.min(who.len())];
            for i in killed {
                nodes.kill(*i);
            }
            pause(random, 100..2000);
            killed.iter().for_each(|i| nodes.launch(*i));
            Ok(format!("killed {killed:?}"))
        }
        Kind::Pause => {
            let paused = &who[..random.random_range(1..=2)];
            paused.iter().for_each(|i| nodes.pause(*i, true));
            pause(random, 200..3000);
            paused.iter().for_each(|i| nodes.pause(*i, false));
            Ok(format!("paused {paused:?}"))
        }
        Kind::Minority | Kind::OneWay | Kind::Shatter if nodes.net() == Net::Loopback => {
            Ok("no partition".into())
        }
        Kind::Minority => {
            let (few, many) =
                who.split_at(random.random_range(1..=who.len().saturating_sub(1) / 2));
            for (a, b) in pairs(few, many) {
                world::cut(a, b);
                world::cut(b, a);
            }
            pause(random, 1000..6000);
            world::heal(places);
            Ok(format!("cut {few:?} off from {many:?}"))
        }
        Kind::OneWay => {
            let (few, many) = who.split_at(random.random_range(1..who.len()));
            pairs(few, many).for_each(|(from, to)| world::cut(from, to));
            pause(random, 1000..6000);
            world::heal(places);
            Ok(format!("cut the way from {few:?} to {many:?}"))
        }
        Kind::Shatter => {
            pairs(&who, &who).filter(|(a, b)| a != b).for_each(|(a, b)| world::cut(a, b));
            pause(random, 500..3000);
            world::heal(places);
            Ok("cut all from all".into())
        }
        Kind::FullDisk => {
            nodes.fill_disk(first, true);
            pause(random, 1000..4000);
            nodes.fill_disk(first, false);
            Ok(format!("filled the disk of m-{first}"))
        }
        Kind::Scale => {
            let name = format!("m-{first}");
            nodes.desire(&who[1..])?;
            nodes.wait_for("a member gone", super::nodes::PATIENCE, |status| {
                members(status).all(|m| m["name"] != name.as_str()) || status["leader"].is_null()
            })?;
            nodes.kill(first);
            pause(random, 100..500);
            nodes.wipe(first);
            nodes.desire(&who)?;
            nodes.launch(first);
            nodes.wait_for("a member come back", super::nodes::PATIENCE, |status| {
                members(status).any(|m| m["name"] == name.as_str()) && Nodes::settled(status)
            })?;
            Ok(format!("m-{first} left and came back"))
        }
    }
}

fn pairs<'a>(from: &'a [usize], to: &'a [usize]) -> impl Iterator<Item = (usize, usize)> + 'a {
    from.iter().flat_map(move |a| to.iter().map(move |b| (*a, *b)))
}
