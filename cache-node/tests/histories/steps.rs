//! From three members to four and back while plain clients write, and at each step of the way, as the admin API
//! tells of it, a process is killed and started again: nothing is lost or done twice, and it ends as it should.

use super::nodes::{Nodes, PATIENCE, members};
use super::scale::{Who, one, restart};
use super::world::Net;
use serde_json::Value;
use std::time::{Duration, Instant};

const PLACES: usize = 4;
const SLOTS: u64 = 16384;
/// Slots go slowly enough that each step is there for a while.
const RATE: &str = r#"{"max_bytes_per_second": 65536}"#;
const YAML: &str = "stores:\n  q: {number: 1, replication_factor: 3, acks: quorum, \
                    key_prefixes: ['q:'], persistence: {mode: aof, fsync: always}}\n";

/// How far a member is that comes or goes.
#[derive(Debug, Default)]
struct Seen {
    /// It stands in the table,
    is_member: bool,
    /// and votes.
    votes: bool,
    voters: usize,
    /// Slots that it is the primary of, and that it owns.
    primaries: u64,
    owned: u64,
    /// Copies that are to be brought to anybody, and that are on their way.
    missing: u64,
    under_way: u64,
}

/// A step of the way: what it is, and whether it is reached.
type Step = (&'static str, fn(&Seen) -> bool);

const COMES: [Step; 6] = [
    ("it is told who shall be", |_| true),
    ("the member learns", |seen| seen.is_member),
    ("slots are on their way to it", |seen| seen.under_way > 0 || seen.owned > 0),
    ("it is in sync with some", |seen| seen.owned > seen.under_way),
    ("it is the primary of some", |seen| seen.primaries > 0),
    ("it has all, and others let go", |seen| seen.primaries > SLOTS / 8 && seen.missing == 0),
];

const GOES: [Step; 6] = [
    ("it is told who shall be", |_| true),
    ("copies are on their way to others", |seen| seen.under_way > 0 || !seen.is_member),
    ("another votes in its place", |seen| !seen.votes && seen.voters >= 3),
    ("it is the primary of fewer", |seen| seen.primaries < SLOTS / 8),
    ("it is the primary of none", |seen| seen.primaries == 0),
    ("it owns nothing", |seen| seen.owned == 0),
];

const WHO: [Who; 3] = [Who::Mover, Who::Leader, Who::Other];

/// All steps, with another one killed at each; as many rounds are as many of the others.
///
/// Panics, with the seed, if a write is lost or done twice, or it does not end as it should.
pub fn run(net: Net, seed: u64, rounds: u64) {
    println!("seed {seed}");
    let mut nodes = Nodes::start(net, PLACES, PLACES - 1, YAML);
    nodes.tell("PUT", "/api/admin/rebalance", RATE).unwrap();
    let mut absent = PLACES - 1;
    let first = usize::try_from(seed % WHO.len() as u64).unwrap();
    for round in 0..usize::try_from(rounds).unwrap() {
        for (at, (comes, goes)) in COMES.iter().zip(&GOES).enumerate() {
            let who = |step: usize| WHO[(first + round + at + step) % WHO.len()];
            let few: Vec<usize> = (0..PLACES).filter(|i| *i != absent).collect();
            let many: Vec<usize> = (0..PLACES).collect();
            strike(&mut nodes, seed, comes, who(0), absent, (&few, &many));
            // One of those that voted before goes.
            absent = (absent + 1) % PLACES;
            let few: Vec<usize> = (0..PLACES).filter(|i| *i != absent).collect();
            strike(&mut nodes, seed, goes, who(1), absent, (&many, &few));
        }
    }
}

fn strike(
    nodes: &mut Nodes,
    seed: u64,
    (what, is_reached): &Step,
    who: Who,
    mover: usize,
    (from, to): (&[usize], &[usize]),
) {
    let named = format!("seed {seed}: {} to {}, {who:?} killed when {what}", from.len(), to.len());
    let stay: Vec<usize> = from.iter().copied().filter(|i| to.contains(i)).collect();
    one(nodes, seed, &named, from, to, |nodes, _| {
        let deadline = Instant::now() + PATIENCE;
        let victim = loop {
            let seen = stay.iter().find_map(|i| look(nodes, *i, mover));
            if seen.is_some_and(|seen| is_reached(&seen))
                // Nobody leads for a moment where it was the mover who did.
                && let Some(victim) = who.of(nodes, &stay, mover)
            {
                break victim;
            }
            if Instant::now() > deadline {
                return Err(format!("it does not come so far\n{}", nodes.logs(40)));
            }
            std::thread::park_timeout(Duration::from_millis(5));
        };
        restart(nodes, &stay, victim);
        Ok(())
    });
}

/// How far `mover` is, as member `i` says.
fn look(nodes: &Nodes, i: usize, mover: usize) -> Option<Seen> {
    let status = nodes.status(i)?;
    let plan: Value = serde_json::from_str(&nodes.http(i, "GET", "/api/admin/plan", "")?).ok()?;
    let name = format!("m-{mover}");
    let listed = members(&status).find(|member| member["name"] == name);
    let planned = members(&plan).find(|member| member["name"] == name);
    let number = |field: &str| planned.and_then(|m| m[field].as_u64()).unwrap_or(0);
    let is_voter = |member: &&Value| member["role"] == "voter";
    Some(Seen {
        is_member: listed.is_some(),
        votes: listed.as_ref().is_some_and(is_voter),
        voters: members(&status).filter(is_voter).count(),
        primaries: number("primaries"),
        owned: number("owned"),
        missing: plan["slots"].as_u64()?,
        under_way: plan["slots_under_way"].as_u64()?,
    })
}
