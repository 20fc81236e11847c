//! `CLUSTER …` as Redis 7 answers it, so that cluster-mode clients go straight to owners.
//!
//! A member that names itself by a host name is told as Redis does it with
//! `cluster-preferred-endpoint-type hostname`: the name stands where clients connect to, the
//! address, as far as it is known, beside it.

use super::{Liveness, Member, MemberId, PlacementRun, SLOTS, Slot, View, node_id, slot_of};
use crate::resp::Writer;
use std::{collections::BTreeMap, fmt::Write};

/// Answers `CLUSTER` and a subcommand. `args` begin with the subcommand; `redirects` says whether the client is one
/// that is sent to each key's member ([`View::port`]); `count` tells how many keys a slot has; `now_ms` is the time in
/// Unix milliseconds.
pub fn cluster_reply(
    view: &View,
    args: &[&[u8]],
    redirects: bool,
    count: impl FnOnce(Slot) -> u64,
    now_ms: u64,
    out: &mut Writer,
) {
    let word = args.first().map(|word| word.to_ascii_lowercase()).unwrap_or_default();
    match (&word[..], args.len()) {
        (b"slots", 1) => slots(view, redirects, out),
        (b"shards", 1) => shards(view, redirects, out),
        (b"nodes", 1) => out.verbatim("txt", nodes(view, redirects, now_ms).as_bytes()),
        (b"info", 1) => out.verbatim("txt", info(view).as_bytes()),
        (b"myid", 1) => out.bulk(node_id(view.me).as_bytes()),
        (b"keyslot", 2) => out.integer(i64::from(slot_of(args[1]))),
        (b"countkeysinslot", 2) => count_keys(args[1], count, out),
        (word, _) => {
            let word = String::from_utf8_lossy(word).into_owned();
            out.error(&format!(
                "ERR unknown subcommand or wrong number of arguments for '{word}'. Try CLUSTER HELP."
            ));
        }
    }
}

fn count_keys(arg: &[u8], count: impl FnOnce(Slot) -> u64, out: &mut Writer) {
    let number = std::str::from_utf8(arg).ok().and_then(|text| text.parse::<i64>().ok());
    match number.map(Slot::try_from) {
        None => out.error("ERR value is not an integer or out of range"),
        Some(Ok(slot)) if slot < SLOTS => out.integer(count(slot).min(i64::MAX as u64) as i64),
        Some(_) => out.error("ERR Invalid slot"),
    }
}

/// The host name, when a member names itself by one.
fn hostname(member: &Member) -> Option<&str> {
    // From `core`, where addresses are values and there are no sockets.
    let is_address = member.host.parse::<core::net::IpAddr>().is_ok();
    (!is_address).then_some(member.host.as_str())
}

/// The address, empty when it is not known.
fn ip<'a>(view: &'a View, member: &'a Member) -> &'a str {
    match hostname(member) {
        None => &member.host,
        Some(_) => view.addresses.get(&member.id).map_or("", String::as_str),
    }
}

fn slots(view: &View, redirects: bool, out: &mut Writer) {
    let runs = view.state.assignment.runs();
    out.array(runs.len());
    for run in runs {
        let mut owners: Vec<&Member> =
            run.owners.iter().filter_map(|id| view.member(*id)).collect();
        // Clients go to the first one. Until another is the primary, whoever is there waits for it with them.
        owners.sort_by_key(|member| view.liveness(member.id) == Liveness::Down);
        out.array(2 + owners.len());
        out.integer(i64::from(run.first));
        out.integer(i64::from(run.last));
        for member in owners {
            out.array(4);
            out.bulk(member.host.as_bytes());
            out.integer(i64::from(view.port(member, redirects)));
            out.bulk(node_id(member.id).as_bytes());
            if hostname(member).is_some() {
                out.map(1);
                out.bulk(b"ip");
                out.bulk(ip(view, member).as_bytes());
            } else {
                out.map(0);
            }
        }
    }
}

/// What Redis calls a shard: slots with the same owners. A member that owns nothing is one as well.
struct Shard<'a> {
    owners: &'a [MemberId],
    runs: Vec<(Slot, Slot)>,
    /// Owners that have everything, of every one of these slots.
    in_sync: Vec<MemberId>,
}

fn shards(view: &View, redirects: bool, out: &mut Writer) {
    let state = &view.state;
    let placements = state.assignment.placements();
    let mut shards: BTreeMap<&[MemberId], Shard> = BTreeMap::new();
    for run in &placements {
        let (owners, in_sync) = (&run.placement.owners[..], &run.placement.in_sync);
        let first = || Shard { owners, runs: Vec::new(), in_sync: in_sync.to_vec() };
        let shard = shards.entry(owners).or_insert_with(first);
        shard.in_sync.retain(|id| in_sync.contains(id));
        match shard.runs.last_mut() {
            Some((_, last)) if *last + 1 == run.first => *last = run.last,
            _ => shard.runs.push((run.first, run.last)),
        }
    }
    let mut shards: Vec<Shard> = shards.into_values().collect();
    let ids: Vec<MemberId> = state.members.keys().copied().collect();
    let idle = |id: &MemberId| !placements.iter().any(|run| run.placement.owns(*id));
    shards.extend(ids.chunks(1).filter(|id| id.iter().all(idle)).map(|owners| Shard {
        owners,
        runs: Vec::new(),
        in_sync: owners.to_vec(),
    }));
    shards.sort_by(|a, b| a.owners.cmp(b.owners));
    out.array(shards.len());
    for Shard { owners, runs, in_sync } in shards {
        out.map(2);
        out.bulk(b"slots");
        out.array(2 * runs.len());
        for (first, last) in runs {
            out.integer(i64::from(first));
            out.integer(i64::from(last));
        }
        let nodes: Vec<&Member> = owners.iter().filter_map(|id| view.member(*id)).collect();
        out.bulk(b"nodes");
        out.array(nodes.len());
        for member in nodes {
            let primary = owners.first() == Some(&member.id);
            let port = view.port(member, redirects);
            shard_node(view, (member, port), primary, in_sync.contains(&member.id), out);
        }
    }
}

fn shard_node(
    view: &View,
    (member, port): (&Member, u16),
    primary: bool,
    in_sync: bool,
    out: &mut Writer,
) {
    let hostname = hostname(member);
    let health = match view.liveness(member.id) {
        Liveness::Alive | Liveness::Suspect if in_sync => "online",
        Liveness::Alive | Liveness::Suspect => "loading",
        Liveness::Down => "fail",
    };
    let id = node_id(member.id);
    out.map(7 + usize::from(hostname.is_some()));
    let text = |key: &str, value: &str, out: &mut Writer| {
        out.bulk(key.as_bytes());
        out.bulk(value.as_bytes());
    };
    text("id", &id, out);
    out.bulk(b"port");
    out.integer(i64::from(port));
    text("ip", ip(view, member), out);
    text("endpoint", &member.host, out);
    if let Some(hostname) = hostname {
        text("hostname", hostname, out);
    }
    text("role", if primary { "master" } else { "replica" }, out);
    out.bulk(b"replication-offset");
    out.integer(0);
    text("health", health, out);
}

fn nodes(view: &View, redirects: bool, now_ms: u64) -> String {
    let state = &view.state;
    let placements = state.assignment.placements();
    let mut text = String::new();
    for member in state.members.values() {
        let liveness = view.liveness(member.id);
        let myself = member.id == view.me;
        let runs = state.assignment.runs_of(member.id);
        // Redis knows one role a member. Who answers for slots is a master; who only holds
        // others' slots is a slave, of the master of most of these.
        let master = if runs.is_empty() { master_of(member.id, &placements) } else { None };
        let mut flags = String::from(if myself { "myself," } else { "" });
        flags.push_str(if master.is_some() { "slave" } else { "master" });
        match liveness {
            Liveness::Alive => {}
            Liveness::Suspect => flags.push_str(",fail?"),
            Liveness::Down => flags.push_str(",fail"),
        }
        let link = if liveness == Liveness::Down { "disconnected" } else { "connected" };
        let pong_ms = if myself || liveness == Liveness::Down { 0 } else { now_ms };
        let _ = write!(
            text,
            "{} {}:{}@{}",
            node_id(member.id),
            ip(view, member),
            view.port(member, redirects),
            member.gossip_port
        );
        if let Some(hostname) = hostname(member) {
            let _ = write!(text, ",{hostname}");
        }
        let (epoch, master) = (state.assignment.epoch, master.map_or("-".to_owned(), node_id));
        let _ = write!(text, " {flags} {master} 0 {pong_ms} {epoch} {link}");
        for (first, last) in runs {
            let _ = match first == last {
                true => write!(text, " {first}"),
                false => write!(text, " {first}-{last}"),
            };
        }
        text.push('\n');
    }
    text
}

/// The primary of most of the slots that a member holds as a replica.
fn master_of(member: MemberId, placements: &[PlacementRun]) -> Option<MemberId> {
    let mut slots: BTreeMap<MemberId, u32> = BTreeMap::new();
    for run in placements.iter().filter(|run| run.placement.replicas().contains(&member)) {
        let primary = run.placement.primary()?;
        *slots.entry(primary).or_default() += u32::from(run.last - run.first) + 1;
    }
    slots.into_iter().max_by_key(|(_, count)| *count).map(|(primary, _)| primary)
}

fn info(view: &View) -> String {
    let state = &view.state;
    let counts = state.assignment.counts();
    let of = |liveness: Liveness| -> u32 {
        counts.iter().filter(|(id, _)| view.liveness(**id) == liveness).map(|(_, n)| n).sum()
    };
    let fields: [(&str, u64); 11] = [
        ("cluster_slots_assigned", u64::from(state.assignment.assigned())),
        ("cluster_slots_ok", u64::from(of(Liveness::Alive))),
        ("cluster_slots_pfail", u64::from(of(Liveness::Suspect))),
        ("cluster_slots_fail", u64::from(of(Liveness::Down))),
        ("cluster_known_nodes", state.members.len() as u64),
        ("cluster_size", counts.len() as u64),
        ("cluster_current_epoch", state.epoch),
        ("cluster_my_epoch", state.assignment.epoch),
        ("cluster_stats_messages_sent", 0),
        ("cluster_stats_messages_received", 0),
        ("total_cluster_links_buffer_limit_exceeded", 0),
    ];
    let mut text = format!("cluster_state:{}\r\n", if view.is_ok() { "ok" } else { "fail" });
    for (name, value) in fields {
        let _ = write!(text, "{name}:{value}\r\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::member;
    use super::super::{Act, Assignment, Change, ClusterState, Step};
    use super::*;
    use crate::resp::{Protocol, Reply};
    use smallvec::smallvec;
    use std::sync::Arc;

    fn view() -> View {
        let named = member(1);
        let addressed = Member { host: "10.0.0.2".into(), ..member(2) };
        let idle = member(3);
        let owners = (0..SLOTS).map(|slot| match slot {
            0..=100 | 5000 => smallvec![2],
            _ => smallvec![1],
        });
        let init = Change::Init {
            cluster_id: 5,
            members: vec![named, addressed, idle],
            assignment: Assignment::from_lists(0, owners),
            stores: vec![],
        };
        let mut state = ClusterState::default();
        state.apply(&init).unwrap();
        View {
            me: 1,
            state: Arc::new(state),
            quorum: true,
            liveness: [(2, Liveness::Alive)].into(),
            ..View::default()
        }
    }

    fn ask(view: &View, args: &[&[u8]], protocol: Protocol) -> Vec<u8> {
        ask_on(view, false, args, protocol)
    }

    fn ask_on(view: &View, redirects: bool, args: &[&[u8]], protocol: Protocol) -> Vec<u8> {
        let mut out = Vec::new();
        cluster_reply(
            view,
            args,
            redirects,
            |slot| u64::from(slot) + 1,
            77,
            &mut Writer::new(&mut out, protocol),
        );
        out
    }

    fn reply(args: &[&[u8]]) -> Reply {
        Reply::parse(&ask(&view(), args, Protocol::Resp3)).unwrap().unwrap().0
    }

    fn text(args: &[&[u8]]) -> String {
        let out = ask(&view(), args, Protocol::Resp2);
        String::from_utf8(out).unwrap()
    }

    fn bulk(text: &str) -> Reply {
        Reply::Bulk(text.as_bytes().to_vec())
    }

    #[test]
    fn slots_have_the_name_where_clients_connect_to_and_the_address_beside_it() {
        let Reply::Array(runs) = reply(&[b"SLOTS"]) else { panic!() };
        assert_eq!(runs.len(), 4);
        let by_address = Reply::Array(vec![
            bulk("10.0.0.2"),
            Reply::Integer(8080),
            bulk(&node_id(2)),
            Reply::Map(vec![]),
        ]);
        let by_name = Reply::Array(vec![
            bulk("demo-1.demo"),
            Reply::Integer(8080),
            bulk(&node_id(1)),
            Reply::Map(vec![(bulk("ip"), bulk(""))]),
        ]);
        let run = |a, b, node: &Reply| {
            Reply::Array(vec![Reply::Integer(a), Reply::Integer(b), node.clone()])
        };
        assert_eq!(runs[0], run(0, 100, &by_address));
        assert_eq!(runs[1], run(101, 4999, &by_name));
        assert_eq!(runs[2], run(5000, 5000, &by_address));
    }

    #[test]
    fn a_client_of_resp2_gets_flat_arrays() {
        let slots = text(&[b"slots"]);
        assert!(
            slots.starts_with("*4\r\n*3\r\n:0\r\n:100\r\n*4\r\n$8\r\n10.0.0.2\r\n:8080\r\n$40\r\n")
        );
        assert!(slots.contains("\r\n*0\r\n"));
        assert!(slots.contains("*2\r\n$2\r\nip\r\n$0\r\n\r\n"));
    }

    #[test]
    fn shards_name_every_member_also_those_without_slots() {
        let Reply::Array(shards) = reply(&[b"shards"]) else { panic!() };
        assert_eq!(shards.len(), 3);
        let node = Reply::Map(vec![
            (bulk("id"), bulk(&node_id(2))),
            (bulk("port"), Reply::Integer(8080)),
            (bulk("ip"), bulk("10.0.0.2")),
            (bulk("endpoint"), bulk("10.0.0.2")),
            (bulk("role"), bulk("master")),
            (bulk("replication-offset"), Reply::Integer(0)),
            (bulk("health"), bulk("online")),
        ]);
        let numbers = [0, 100, 5000, 5000].map(Reply::Integer).to_vec();
        assert_eq!(
            shards[1],
            Reply::Map(vec![
                (bulk("slots"), Reply::Array(numbers)),
                (bulk("nodes"), Reply::Array(vec![node])),
            ])
        );
        let Reply::Map(idle) = &shards[2] else { panic!() };
        assert_eq!(idle[0], (bulk("slots"), Reply::Array(vec![])));
        let Reply::Array(nodes) = &idle[1].1 else { panic!() };
        let Reply::Map(fields) = &nodes[0] else { panic!() };
        assert_eq!(fields[4], (bulk("hostname"), bulk("demo-3.demo")));
        assert_eq!(fields[7], (bulk("health"), bulk("fail")));
    }

    #[test]
    fn nodes_are_lines_as_redis_writes_them() {
        let nodes = text(&[b"nodes"]);
        let lines: Vec<&str> = nodes.lines().skip(1).collect();
        let (one, two, three) = (node_id(1), node_id(2), node_id(3));
        assert_eq!(
            lines[0],
            format!(
                "{one} :8080@7946,demo-1.demo myself,master - 0 0 1 connected 101-4999 5001-16383"
            )
        );
        assert_eq!(
            lines[1],
            format!("{two} 10.0.0.2:8080@7946 master - 0 77 1 connected 0-100 5000")
        );
        assert_eq!(
            lines[2],
            format!("{three} :8080@7946,demo-3.demo master,fail - 0 0 1 disconnected")
        );
    }

    #[test]
    fn who_is_sent_to_each_keys_member_is_told_the_ports_for_that_as_far_as_they_are_known() {
        let view = View { cluster_ports: [(2, 8081)].into(), ..view() };
        let said = |words: &[&[u8]]| {
            String::from_utf8(ask_on(&view, true, words, Protocol::Resp2)).unwrap()
        };
        let slots = said(&[b"slots"]);
        assert!(slots.contains("10.0.0.2\r\n:8081\r\n"), "{slots}");
        assert!(slots.contains("demo-1.demo\r\n:8080\r\n"), "{slots}");
        assert!(said(&[b"nodes"]).contains(" 10.0.0.2:8081@7946 "));
        assert!(said(&[b"shards"]).contains("port\r\n:8081\r\n"));
    }

    #[test]
    fn info_says_fail_without_a_quorum() {
        assert!(
            text(&[b"info"]).contains("\r\ncluster_state:ok\r\ncluster_slots_assigned:16384\r\n")
        );
        assert!(text(&[b"info"]).contains("\r\ncluster_known_nodes:3\r\ncluster_size:2\r\n"));
        let alone = View { quorum: false, ..view() };
        let out = ask(&alone, &[b"info"], Protocol::Resp2);
        assert!(String::from_utf8(out).unwrap().contains("cluster_state:fail\r\n"));
    }

    #[test]
    fn keys_slots_counts_and_ids() {
        assert_eq!(text(&[b"keyslot", b"foo"]), ":12182\r\n");
        assert_eq!(text(&[b"countkeysinslot", b"7"]), ":8\r\n");
        assert_eq!(text(&[b"countkeysinslot", b"16384"]), "-ERR Invalid slot\r\n");
        assert_eq!(text(&[b"countkeysinslot", b"-1"]), "-ERR Invalid slot\r\n");
        let odd = text(&[b"countkeysinslot", b"x"]);
        assert_eq!(odd, "-ERR value is not an integer or out of range\r\n");
        assert_eq!(text(&[b"MYID"]), format!("$40\r\n{}\r\n", node_id(1)));
        assert!(text(&[b"nonsense"]).starts_with("-ERR unknown subcommand"));
    }

    fn with_replicas() -> View {
        let mut view = view();
        let mut state = ClusterState::clone(&view.state);
        let runs = vec![(0, 100), (200, 200)];
        let steps = [
            Act::AddOwner(3),
            Act::InSync { primary: 2, epoch: 1, member: 3, incarnation: 0, in_sync: true },
        ];
        let steps = steps.map(|act| Step::new(runs.clone(), act)).to_vec();
        state.apply(&Change::Place(steps)).unwrap();
        view.state = Arc::new(state);
        view.liveness.insert(3, Liveness::Alive);
        view
    }

    /// The ids of the nodes of a run of slots.
    fn ids(run: &Reply) -> Vec<Reply> {
        let Reply::Array(parts) = run else { panic!() };
        let id = |node: &Reply| match node {
            Reply::Array(node) => node[2].clone(),
            other => panic!("{other:?}"),
        };
        parts[2..].iter().map(id).collect()
    }

    #[test]
    fn a_primary_that_is_away_stands_behind_its_replicas_so_that_nobody_is_sent_to_it() {
        let mut view = with_replicas();
        view.liveness.insert(2, Liveness::Down);
        let out = ask(&view, &[b"slots"], Protocol::Resp3);
        let Reply::Array(runs) = Reply::parse(&out).unwrap().unwrap().0 else { panic!() };
        assert_eq!(ids(&runs[0]), [bulk(&node_id(3)), bulk(&node_id(2))]);
    }

    #[test]
    fn replicas_stand_behind_their_primaries() {
        let out = ask(&with_replicas(), &[b"slots"], Protocol::Resp3);
        let Reply::Array(runs) = Reply::parse(&out).unwrap().unwrap().0 else { panic!() };
        assert_eq!(runs.len(), 6);
        assert_eq!(ids(&runs[0]), [bulk(&node_id(2)), bulk(&node_id(3))]);
        assert_eq!(ids(&runs[1]), [bulk(&node_id(1))]);
        assert_eq!(
            ids(&runs[2]),
            [bulk(&node_id(1)), bulk(&node_id(3))],
            "also before it is in sync"
        );
    }

    #[test]
    fn a_shard_is_slots_with_the_same_owners_and_says_which_of_them_have_everything() {
        let out = ask(&with_replicas(), &[b"shards"], Protocol::Resp3);
        let Reply::Array(shards) = Reply::parse(&out).unwrap().unwrap().0 else { panic!() };
        let told: Vec<Vec<String>> = shards
            .iter()
            .map(|shard| {
                let Reply::Map(fields) = shard else { panic!() };
                let Reply::Array(nodes) = &fields[1].1 else { panic!() };
                let field = |node: &Reply, name: &str| {
                    let Reply::Map(fields) = node else { panic!() };
                    let value = fields.iter().find(|(key, _)| *key == bulk(name)).unwrap();
                    let Reply::Bulk(text) = &value.1 else { panic!() };
                    String::from_utf8_lossy(text).into_owned()
                };
                let node = |node| {
                    let names = [field(node, "role"), field(node, "health")];
                    format!("{} {}", &field(node, "id")[..4], names.join(" "))
                };
                nodes.iter().map(node).collect()
            })
            .collect();
        let short = |id| node_id(id)[..4].to_owned();
        let (one, two, three) = (short(1), short(2), short(3));
        assert_eq!(
            told,
            [
                vec![format!("{one} master online")],
                vec![format!("{one} master online"), format!("{three} replica loading")],
                vec![format!("{two} master online")],
                vec![format!("{two} master online"), format!("{three} replica online")],
            ]
        );
    }

    #[test]
    fn a_member_that_only_holds_others_slots_is_a_slave_of_the_one_with_most_of_them() {
        let out = ask(&with_replicas(), &[b"nodes"], Protocol::Resp2);
        let nodes = String::from_utf8(out).unwrap();
        let line = nodes.lines().find(|line| line.starts_with(&node_id(3))).unwrap();
        assert!(line.contains(&format!(" slave {} 0 77 ", node_id(2))), "{line}");
    }
}
