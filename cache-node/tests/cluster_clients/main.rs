//! Client libraries as they come, with no setting but an address: each works while a member is killed,
//! stopped, added and drained, and is told no lie.
//!
//! The programs are those of `e2e/clients`. Where the runtime of one is not on this machine, that one is
//! left out, and said so. `TEST_HYPERCACHE` names another build of the server: of an optimised one, no error
//! may be left that the library's own retries did not cure, but for those that `is_let_pass` names.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

#[path = "../common/mod.rs"]
mod common;
mod programs;
mod service;

use common::cluster::{Cluster, launch};
use common::{Member, free_port, try_for};
use programs::{Phase, Program};
use serde_json::Value;
use service::Service;
use std::io::Write;

/// Cluster clients know no other database than the first, which is the store `default`.
const STORES: &str = "cache: {replication_factor: 3, acks: quorum}\n";

/// Seconds until all goes well again, at most.
const LONG: u32 = 150;
/// Seconds that are enough for who can know that a member is gone.
const SOON: u32 = 15;

/// What happens to members, and what a client that has only its library's retries may then be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Event {
    Nothing,
    Killed,
    Stopped,
    Back,
    Added,
    Drained,
    Left,
}

/// Whether the slots' owner is gone for a client that looks at the slots again at MOVED only, or a minute after
/// it did before. That is go-redis's cluster client; with Redis, a kill costs it the same minute.
fn waits_its_minute_out(program: &str, event: Event) -> bool {
    program == "go-redis cluster" && matches!(event, Event::Killed | Event::Back)
}

/// What a member answers that has just lost its leader, or stops, where it could hold the request for a moment.
/// Once it does, these are to go.
const NOT_HELD_YET: [&str; 2] =
    ["reaches no majority of the voters", "reached no majority of the voters"];

/// Errors that the server cannot spare the library's user, and those of [`NOT_HELD_YET`].
///
/// A member that sent a write on to one that was killed then cannot know what was done. A plain client
/// asks again by itself where its connection ends, but not all do where they are told so. A cluster client of
/// redis-py tries each member that it knows once, and may be faster with that than the fail-over.
fn is_let_pass(program: &str, event: Event, error: &str) -> bool {
    let is_refused = error.to_lowercase().contains("connection refused");
    let is_in_doubt = error.contains("the write may have been done");
    let is_gone = matches!(event, Event::Killed | Event::Stopped);
    // A refused connection is one of the redirections that it follows at most.
    let is_lost = is_refused || error.starts_with("MOVED");
    waits_its_minute_out(program, event) && is_lost
        || is_gone && NOT_HELD_YET.iter().any(|text| error.contains(text))
        || event == Event::Killed && (is_in_doubt || program == "redis-py cluster" && is_refused)
}

/// The members, and who works.
struct World {
    cluster: Cluster,
    programs: Vec<Program>,
    is_optimised: bool,
    bad: Vec<String>,
}

impl World {
    /// Asks every program how it went.
    fn tell(&mut self, event: Event, who: &str, seconds: u32) {
        println!("{event:?} {who}");
        self.programs.iter_mut().for_each(|program| program.ask(seconds));
        for program in &self.programs {
            let phase = program.answer();
            println!("  {:18} {}", program.name, line(&phase));
            let named = format!("{:?} {who}, {}", event, program.name);
            if !phase.clean && !waits_its_minute_out(program.name, event) {
                self.bad.push(format!("{named}: errors do not end: {:?}", phase.errors));
            }
            // Only where an answer was lost or in doubt may a library have sent again what had been done.
            let lost_answers = matches!(event, Event::Killed | Event::Stopped | Event::Back);
            if phase.twice > 0 && !lost_answers && self.is_optimised {
                self.bad.push(format!("{named}: {} were done twice", phase.twice));
            }
            for (error, times) in &phase.errors {
                if self.is_optimised && !is_let_pass(program.name, event, error) {
                    self.bad.push(format!("{named}: {times} times: {error}"));
                }
            }
        }
    }

    fn status(&self, i: usize) -> Value {
        json(&self.cluster.members[i], "/api/admin/cluster")
    }

    /// Waits until so many members have everything that they should.
    fn wait_settled(&self, members: usize) {
        for member in &self.cluster.members[..members] {
            wait_long(member, "all in sync and where it should be", || {
                let status = json(member, "/api/admin/cluster");
                let alive = status["members"].as_array()?.iter().filter(|m| m["state"] == "alive");
                (alive.count() == members
                    && status["fully_replicated"] == true
                    && json(member, "/api/admin/plan")["state"] == "Done")
                    .then_some(())
            });
        }
    }

    /// Who leads, or is next to who does.
    fn pick(&self, leads: bool) -> usize {
        let asked = &self.cluster.members[0];
        let leader = wait_long(asked, "a leader", || {
            let name = self.status(0)["leader"].as_str()?.strip_prefix("m-")?.to_owned();
            name.parse::<usize>().ok()
        });
        if leads { leader } else { (leader + 1) % 3 }
    }

    fn start_again(&mut self, i: usize, who: &str) {
        let cluster = &mut self.cluster;
        cluster.members[i] = launch(STORES, cluster.ports[i], &cluster.flags[i]);
        self.wait_settled(3);
        self.tell(Event::Back, who, LONG);
    }
}

fn json(member: &Member, path: &str) -> Value {
    let reply = member.http(&format!("GET {path}"));
    let body = reply.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or(Value::Null)
}

/// Slots move some at a time: it may take several deadlines.
fn wait_long<T>(member: &Member, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let found = (0..6).find_map(|_| try_for(&mut condition));
    found.unwrap_or_else(|| {
        let (log, plan) = (member.log(), json(member, "/api/admin/plan"));
        let from = log.len().saturating_sub(6000);
        let end = String::from_utf8_lossy(&log.as_bytes()[from..]).into_owned();
        panic!("not in time: {what}: {plan}\n{end}")
    })
}

fn line(phase: &Phase) -> String {
    let errors = match phase.errors.is_empty() {
        true => "no errors".to_owned(),
        false => format!("errors for {} ms: {:?}", phase.errors_ms, phase.errors),
    };
    let Phase { written, longest_ms, twice, .. } = phase;
    format!("{written:6} writes, the longest {longest_ms} ms, {twice} done twice, {errors}")
}

/// A client library's name, how it is told the address, and its program.
type Library = (&'static str, &'static str, Vec<String>);

/// Those whose runtime is here.
fn libraries() -> Vec<Library> {
    let all = [
        (["redis-py cluster", "redis-py plain"], programs::python()),
        (["go-redis cluster", "go-redis plain"], programs::go()),
        (["ioredis cluster", "ioredis plain"], programs::node()),
    ];
    let mut here = Vec::new();
    for (names, ready) in all {
        match ready {
            Ok(command) => {
                let modes = names.iter().zip(["cluster", "plain"]);
                here.extend(modes.map(|(name, mode)| (*name, mode, command.clone())));
            }
            // Past what the test harness keeps to itself.
            Err(why) => {
                let _ = writeln!(std::io::stderr(), "left out: {}: {why}", names.join(", "));
            }
        }
    }
    here
}

#[test]
fn client_libraries_lose_nothing_while_members_are_killed_stopped_added_and_drained() {
    let libraries = libraries();
    let cluster_ports = [free_port(), free_port(), free_port()];
    let cluster = Cluster::start_on([0, 1, 2], STORES, Some(cluster_ports));
    let fourth = (free_port(), free_port(), free_port());
    let mut ports: Vec<u16> = cluster.ports.iter().map(|ports| ports.0).collect();
    ports.push(fourth.0);
    // A plain client has one address; a cluster client is told one member's, and asks for the others.
    let service = Service::start(ports.clone());
    let mut world = World {
        cluster,
        programs: Vec::new(),
        is_optimised: std::env::var_os("TEST_HYPERCACHE").is_some(),
        bad: Vec::new(),
    };
    world.wait_settled(3);
    world.programs = libraries
        .iter()
        .map(|(name, mode, command)| {
            let port = if *mode == "plain" { service.port } else { cluster_ports[0] };
            Program::start(name, command, mode, port)
        })
        .collect();
    world.tell(Event::Nothing, "", LONG);

    let all = [
        (Event::Killed, false),
        (Event::Stopped, true),
        (Event::Killed, true),
        (Event::Stopped, false),
    ];
    // Members that are not optimised take their time for each.
    let all = if world.is_optimised { &all[..] } else { &all[..2] };
    for (event, leads) in all.iter().copied() {
        let who = if leads { "who leads" } else { "an owner" };
        let i = world.pick(leads);
        match event {
            Event::Killed => world.cluster.members[i].kill(),
            _ => assert_eq!(world.cluster.members[i].terminate(), Some(0)),
        }
        world.tell(event, who, SOON);
        world.start_again(i, who);
    }

    let mut flags = world.cluster.flags[0].clone();
    flags[1] = "m-3".into();
    flags[3] += "-3";
    let port = flags.iter().position(|flag| flag == "--cluster-port").unwrap() + 1;
    flags[port] = free_port().to_string();
    *flags.last_mut().unwrap() = "0".into();
    world.cluster.members.push(launch(STORES, fourth, &flags));
    world.wait_settled(4);
    world.tell(Event::Added, "a fourth", LONG);

    let first = &world.cluster.members[0];
    let told = first.http("POST /api/admin/members/m-3/drain");
    assert!(told.starts_with("HTTP/1.1 200"), "{told}");
    wait_long(first, "the fourth drained", || {
        let plan = json(first, "/api/admin/plan");
        let fourth = plan["members"].as_array()?.iter().find(|member| member["name"] == "m-3")?;
        (fourth["owned"] == 0 && plan["state"] == "Done").then_some(())
    });
    world.tell(Event::Drained, "the fourth", LONG);
    assert_eq!(world.cluster.members[3].terminate(), Some(0));
    world.tell(Event::Left, "the fourth", LONG);

    for program in std::mem::take(&mut world.programs) {
        let (name, end) = (program.name, program.end());
        println!(
            "{name}: {} {}: {} writes, {} wrong",
            end.client, end.version, end.count, end.wrong
        );
        if end.wrong > 0 || end.count == 0 {
            world.bad.push(format!("{name}: {} of {} wrong: {}", end.wrong, end.count, end.first));
        }
    }
    assert!(world.bad.is_empty(), "{}", world.bad.join("\n"));
}
