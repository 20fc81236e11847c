//! Whole members in one process, on loopback.

use super::serving::tests::Fake;
use super::*;
use crate::loops::Loops;
use hypercache_core::cluster::{Change, Desired, Liveness, PROTOCOLS, View};
use hypercache_core::store::{Durability, Mode, StorePolicy};
use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, UdpSocket},
    task::JoinHandle,
    time::timeout,
};

const LONG: Duration = Duration::from_secs(60);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

struct Node {
    handle: Handle,
    keys: Arc<Fake>,
    port: u16,
    running: JoinHandle<Result<(), Error>>,
}

fn options(name: &str, join: &[u16]) -> Options {
    Options {
        name: name.to_owned(),
        data_dir: None,
        bind: LOOPBACK,
        host: "127.0.0.1".to_owned(),
        resp_port: 8080,
        cluster_port: None,
        http_port: 9080,
        gossip_port: 0,
        zone: None,
        weight: 1,
        join: join.iter().map(|port| format!("127.0.0.1:{port}")).collect(),
        bootstrap_members: None,
        secret: None,
        stores: vec![StorePolicy::new("default", 0), StorePolicy::new("sessions", 1)],
        move_bytes_per_second: 1 << 30,
        max_protocol: *PROTOCOLS.end(),
        loops: Loops::default(),
    }
}

/// With a store that is kept on disk: its slots wait for their owner.
fn kept(options: Options) -> Options {
    let durability = Durability { mode: Mode::Aof, ..Durability::default() };
    Options {
        stores: vec![StorePolicy { durability, ..StorePolicy::new("default", 0) }],
        ..options
    }
}

async fn start(options: Options) -> Node {
    let keys = Arc::new(Fake::default());
    let cluster = options.build(keys.clone()).await.unwrap();
    let (handle, port) = (cluster.handle(), cluster.gossip_port());
    Node { handle, keys, port, running: tokio::spawn(cluster.run()) }
}

/// Ports that are free, below those that the system gives to callers.
fn free_ports(n: usize) -> Vec<u16> {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = std::process::id().wrapping_mul(97);
    let free = |port: &u16| {
        std::net::UdpSocket::bind((LOOPBACK, *port)).is_ok()
            && std::net::TcpListener::bind((LOOPBACK, *port)).is_ok()
    };
    std::iter::repeat_with(|| {
        let next = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        20_000 + (next % 12_000) as u16
    })
    .filter(free)
    .take(n)
    .collect()
}

impl Node {
    async fn until(&self, what: &str, fits: impl Fn(&View) -> bool) -> Arc<View> {
        let mut changed = self.handle.changed();
        let seen = async {
            loop {
                let view = self.handle.view();
                if fits(&view) {
                    return view;
                }
                changed.changed().await.unwrap();
            }
        };
        let view = timeout(LONG, seen).await;
        view.unwrap_or_else(|_| panic!("not in time: {what}; {:?}", self.handle.view()))
    }

    async fn ready(&self, members: usize) -> Arc<View> {
        self.until(&format!("{members} members"), |view| {
            view.is_ok() && view.state.members.len() == members
        })
        .await
    }

    async fn stop(self) {
        self.handle.shutdown().await;
        timeout(LONG, self.running).await.expect("it stops").unwrap().unwrap();
    }

    fn id(&self) -> u64 {
        self.handle.view().me
    }
}

/// As a killed process: nobody is told.
async fn kill(node: Node) {
    node.running.abort();
    let _ = node.running.await;
    let _ = node.handle.shared.raft.shutdown().await;
    // What it held goes when the last handle does.
}

async fn three(order: [usize; 3], tune: impl Fn(usize, Options) -> Options) -> Vec<Node> {
    let ports = free_ports(3);
    let mut nodes: Vec<(usize, Node)> = Vec::new();
    for i in order {
        let options = Options {
            gossip_port: ports[i],
            bootstrap_members: Some(3),
            ..options(&format!("demo-{i}"), &ports)
        };
        nodes.push((i, start(tune(i, options)).await));
    }
    nodes.sort_by_key(|(i, _)| *i);
    let nodes: Vec<Node> = nodes.into_iter().map(|(_, node)| node).collect();
    for node in &nodes {
        node.ready(3).await;
    }
    nodes
}

async fn stop_all(nodes: Vec<Node>) {
    futures::future::join_all(nodes.into_iter().map(Node::stop)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_alone_is_its_own_cluster_and_serves_everything() {
    let node = start(options("demo-0", &[])).await;
    let view = node.ready(1).await;
    assert_eq!(node.keys.served(), 16384);
    assert_eq!(view.owner(0), Some(view.me));
    assert_eq!(node.handle.readiness(), Vec::<String>::new());
    let status = node.handle.status().await;
    assert_eq!(status.leader.as_deref(), Some("demo-0"));
    assert!(status.ring.balanced);
    assert_eq!(status.stores.len(), 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l20_members_form_one_cluster_in_any_start_order() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let nodes = three(order, |_, options| options).await;
        let mut ids: Vec<u64> = nodes.iter().map(|n| n.handle.view().state.cluster_id).collect();
        ids.dedup();
        assert_eq!(ids.len(), 1, "one cluster");
        let served: usize = nodes.iter().map(|node| node.keys.served()).sum();
        assert_eq!(served, 16384, "every slot is served once");
        nodes[2].until("three voters", |view| view.voters.len() == 3).await;
        stop_all(nodes).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l7_a_store_made_through_one_member_is_on_all() {
    let nodes = three([0, 1, 2], |_, options| options).await;
    let follower = nodes.iter().find(|n| n.handle.view().leader != Some(n.id())).unwrap();
    follower.handle.create_store(StorePolicy::new("pages", 5)).await.unwrap();
    let twice = follower.handle.create_store(StorePolicy::new("pages", 6)).await;
    assert!(matches!(twice, Err(Error::Refused(Refused::InvalidStore(_)))), "{twice:?}");
    for node in &nodes {
        node.until("the store", |view| view.state.store_named("pages").is_some()).await;
        assert!(node.keys.stores.lock().iter().any(|store| store.name == "pages"));
    }
    nodes[0].handle.drop_store("pages").await.unwrap();
    nodes[1].until("no store", |view| view.state.store_named("pages").is_none()).await;
    assert!(nodes[1].handle.drop_store("pages").await.is_err());
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l22_a_minority_loses_its_quorum_and_says_so() {
    let mut nodes = three([0, 1, 2], |_, options| options).await;
    let survivor = nodes.remove(0);
    for node in nodes {
        kill(node).await;
    }
    survivor.until("no quorum", |view| !view.quorum).await;
    assert!(survivor.handle.readiness()[0].contains("no quorum"));
    let refused = survivor.handle.create_store(StorePolicy::new("pages", 5)).await;
    assert!(matches!(refused, Err(Error::NoQuorum(_))), "{refused:?}");
    assert!(!survivor.handle.status().await.quorum);
    survivor.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_dies_is_followed_by_another_one() {
    let mut nodes = three([0, 1, 2], |_, options| options).await;
    let leader = nodes[0].until("a leader", |view| view.leader.is_some()).await.leader.unwrap();
    let at = nodes.iter().position(|node| node.id() == leader).unwrap();
    kill(nodes.remove(at)).await;
    for node in &nodes {
        node.until("another leader", |v| v.quorum && v.leader.is_some_and(|id| id != leader)).await;
        node.until("it is down", |view| view.liveness(leader) == Liveness::Down).await;
    }
    nodes[0].handle.create_store(StorePolicy::new("pages", 5)).await.unwrap();
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_slots_of_a_plain_cache_begin_anew_elsewhere_at_once_when_their_owner_dies() {
    let mut nodes = three([0, 1, 2], |_, options| options).await;
    nodes[0].until("three voters", |view| view.voters.len() == 3).await;
    for who in ["a follower", "the leader"] {
        let leader = nodes[0].until("a leader", |view| view.leader.is_some()).await.leader.unwrap();
        let leads = |node: &Node| (node.id() == leader) == (who == "the leader");
        let at = nodes.iter().position(leads).unwrap();
        let dead = nodes[at].id();
        nodes[0].until("slots of it", |view| view.state.assignment.owns(dead)).await;
        let killed = nodes.remove(at);
        kill(killed).await;
        if who == "a follower" {
            for node in &nodes {
                node.until("no slots of it", |view| {
                    view.quorum && !view.state.assignment.owns(dead)
                })
                .await;
                let own = node.handle.view().state.assignment.slots_of(node.id()).count();
                assert_eq!(node.keys.served(), own);
            }
            // It comes back as a new member of its old name.
            let join = [nodes[0].port, nodes[1].port];
            let name = format!(
                "demo-{}",
                (0..3)
                    .find(|i| {
                        nodes.iter().all(|node| {
                            node.handle.view().myself().unwrap().name != format!("demo-{i}")
                        })
                    })
                    .unwrap()
            );
            nodes.push(start(options(&name, &join)).await);
            for node in &nodes {
                node.until("it is back, with its share", |view| {
                    let counts = view.state.assignment.counts();
                    view.is_ok() && counts.len() == 3 && counts.values().all(|n| *n > 5000)
                })
                .await;
            }
            nodes[0].until("it votes", |view| view.voters.len() == 3).await;
        } else {
            for node in &nodes {
                node.until("no slots of it", |view| {
                    view.quorum && !view.state.assignment.owns(dead)
                })
                .await;
            }
        }
    }
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l25_a_stopped_member_comes_back_from_its_disk_as_itself() {
    let directories: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let dirs: Vec<PathBuf> = directories.iter().map(|d| d.path().to_owned()).collect();
    let with_disk = |i: usize, o: Options| Options { data_dir: Some(dirs[i].clone()), ..o };
    let mut nodes = three([0, 1, 2], with_disk).await;
    let stopped = nodes.remove(1);
    let (id, port) = (stopped.id(), stopped.port);
    let join = [nodes[0].port, nodes[1].port, port];
    stopped.stop().await;
    nodes[0].handle.create_store(StorePolicy::new("pages", 5)).await.unwrap();
    let options =
        Options { gossip_port: port, bootstrap_members: Some(3), ..options("demo-1", &join) };
    let back = start(with_disk(1, options)).await;
    assert_eq!(back.id(), id);
    let view = back.ready(3).await;
    assert!(view.state.store_named("pages").is_some(), "it serves only with what it missed");
    // Slots come back to it a step at a time.
    let mine = |view: &View| view.state.assignment.slots_of(id).count();
    back.until("what is its own is served", |view| {
        mine(view) > 0 && back.keys.served() == mine(view)
    })
    .await;
    nodes.push(back);
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o3_all_restart_at_once_at_new_addresses_and_find_each_other() {
    let directories: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    let dirs: Vec<PathBuf> = directories.iter().map(|d| d.path().to_owned()).collect();
    let with_disk = |i: usize, o: Options| kept(Options { data_dir: Some(dirs[i].clone()), ..o });
    let nodes = three([0, 1, 2], with_disk).await;
    let before = nodes[0].handle.view().state.clone();
    stop_all(nodes).await;
    let nodes = three([2, 0, 1], |i, options| {
        with_disk(i, Options { resp_port: 9000 + i as u16, ..options })
    })
    .await;
    for node in &nodes {
        let view = node
            .until("new addresses", |view| view.state.members.values().all(|m| m.resp_port >= 9000))
            .await;
        assert_eq!(view.state.cluster_id, before.cluster_id);
        assert_eq!(view.state.assignment.runs(), before.assignment.runs());
    }
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_alone_restarts_from_its_disk() {
    let directory = tempfile::tempdir().unwrap();
    let with_disk =
        || Options { data_dir: Some(directory.path().to_owned()), ..options("demo-0", &[]) };
    let node = start(with_disk()).await;
    let cluster = node.ready(1).await.state.cluster_id;
    for i in 0..300u16 {
        let policy = StorePolicy {
            default_ttl_ms: Some(u64::from(i) + 1),
            ..StorePolicy::new("sessions", 1)
        };
        node.handle.change_store(policy).await.unwrap();
    }
    node.stop().await;
    let node = start(with_disk()).await;
    let view = node.ready(1).await;
    assert_eq!(view.state.cluster_id, cluster);
    assert_eq!(view.state.store_named("sessions").unwrap().default_ttl_ms, Some(300));
    let kept = node.handle.shared.metrics();
    assert!(kept.purged.is_some(), "the log is cut after a snapshot");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_gets_slots_while_nobody_holds_data() {
    let first = start(options("demo-0", &[])).await;
    first.ready(1).await;
    let second = start(options("demo-1", &[first.port])).await;
    second.ready(2).await;
    second.until("slots", |view| view.state.assignment.counts().len() == 2).await;
    let both = [&first, &second];
    for node in both {
        node.until("its share", |view| {
            let primaries = view.state.assignment.counts().into_values().collect::<Vec<_>>();
            primaries == [8192, 8192]
                && view.state.assignment.runs().iter().all(|r| r.owners.len() == 1)
        })
        .await;
        let own = node.handle.view().state.assignment.slots_of(node.id()).count();
        assert_eq!(node.keys.served(), own);
    }
    let status = second.handle.status().await;
    assert!(status.ring.balanced, "{status:?}");
    assert_eq!(status.members.iter().filter(|m| m.role == Role::Voter).count(), 1);
    stop_all(vec![first, second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_member_learns_and_only_forwards_while_data_is_held() {
    let mut nodes = three([0, 1, 2], |_, options| options).await;
    nodes[0].until("three voters", |view| view.voters.len() == 3).await;
    let owned = nodes[1].handle.view().state.assignment.slots_of(nodes[1].id()).next().unwrap();
    assert!(nodes[1].keys.write(owned));
    let fourth = start(options("demo-3", &[nodes[0].port])).await;
    let view = fourth.ready(4).await;
    assert_eq!(view.voters.len(), 3);
    let status = fourth.handle.status().await;
    assert_eq!((status.ring.balanced, &*status.ring.reason), (false, "SlotsHoldData"));
    assert_eq!(status.members[3].role, Role::Learner);
    assert_eq!(fourth.keys.served(), 0);
    nodes[1].keys.keys.lock().clear();
    fourth
        .until("slots, once the data is gone", |view| view.state.assignment.counts().len() == 4)
        .await;
    nodes.push(fourth);
    stop_all(nodes).await;
}

fn desired(generation: u64, names: &[&str], stores: Vec<StorePolicy>) -> Desired {
    let members = names.iter().map(|name| (*name).to_owned()).collect();
    Desired { generation, members, stores }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_is_not_desired_leaves_only_when_its_slots_are_empty() {
    let nodes = three([0, 1, 2], |_, options| options).await;
    let leaving = &nodes[2];
    let owned = leaving.handle.view().state.assignment.slots_of(leaving.id()).next().unwrap();
    assert!(leaving.keys.write(owned));
    let two = desired(7, &["demo-0", "demo-1"], vec![StorePolicy::new("pages", 5)]);
    let status = nodes[2].handle.set_desired(two.clone()).await.unwrap();
    assert_eq!(status.desired_generation, Some(7));
    let kinds: Vec<_> = status.problems.iter().map(|p| (&*p.kind, &*p.object)).collect();
    assert_eq!(kinds, [("MemberOwnsSlots", "demo-2")]);
    assert!(status.stores.iter().any(|store| store.name == "pages" && store.managed));

    let log = nodes[0].handle.shared.metrics().last_log_index;
    let epoch = nodes[0].handle.set_desired(two).await.unwrap().epoch;
    assert_eq!(epoch, status.epoch, "o9: the same again changes nothing");
    assert!(nodes[0].handle.shared.metrics().last_log_index.is_some() && log.is_some());

    leaving.keys.keys.lock().clear();
    for node in &nodes[..2] {
        node.until("two members", |v| v.state.members.len() == 2 && v.voters.len() == 1).await;
        node.until("all slots", |view| view.is_ok()).await;
    }
    leaving.until("it is out", |view| !view.quorum).await;
    assert!(!leaving.handle.readiness().is_empty());
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o4_a_desired_store_that_cannot_be_is_refused_with_its_field() {
    let node = start(options("demo-0", &[])).await;
    node.ready(1).await;
    let stores = vec![StorePolicy::new("a", 2), StorePolicy::new("b", 2)];
    let refused = node.handle.set_desired(desired(1, &["demo-0"], stores)).await;
    match refused {
        Err(Error::Refused(Refused::InvalidStore(invalid))) => {
            assert_eq!(invalid.field, "stores[1].number");
        }
        other => panic!("{other:?}"),
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_managed_store_that_is_no_longer_listed_goes_once_it_is_empty() {
    let node = start(options("demo-0", &[])).await;
    node.ready(1).await;
    let stores = vec![StorePolicy::new("pages", 5)];
    node.handle.set_desired(desired(1, &["demo-0"], stores)).await.unwrap();
    let status = node.handle.set_desired(desired(2, &["demo-0"], vec![])).await.unwrap();
    assert!(status.stores.iter().all(|store| store.name != "pages"), "{status:?}");
    assert!(status.stores.iter().any(|store| store.name == "sessions"), "made by hand: stays");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_lost_its_disk_takes_its_old_place() {
    let mut nodes = three([0, 1, 2], |_, options| kept(options)).await;
    let old = nodes.remove(2);
    let (old_id, port) = (old.id(), old.port);
    let slots = old.handle.view().state.assignment.runs_of(old_id);
    kill(old).await;
    nodes[0].until("it is down", |view| view.liveness(old_id) == Liveness::Down).await;
    let problems = nodes[0].handle.status().await.problems;
    assert!(problems.iter().any(|p| p.kind == "SlotsWait"), "{problems:?}");
    let options =
        Options { bootstrap_members: Some(3), ..options("demo-2", &[nodes[0].port, port]) };
    let new = start(options).await;
    let view = new
        .until("its old place", |view| {
            view.is_ok() && view.myself().is_some() && !view.state.members.contains_key(&old_id)
        })
        .await;
    assert_eq!(view.state.assignment.runs_of(new.id()), slots);
    new.until("it votes", |view| view.voters.len() == 3 && view.voters.contains(&view.me)).await;
    nodes.push(new);
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_with_another_secret_is_not_let_in() {
    let secret = |word: &str, o: Options| Options { secret: Some(word.into()), ..o };
    let first = start(secret("red", options("demo-0", &[]))).await;
    first.ready(1).await;
    let stranger = start(secret("blue", options("demo-1", &[first.port]))).await;
    let friend = start(secret("red", options("demo-2", &[first.port]))).await;
    friend.ready(2).await;
    let dropped = || {
        let counters = first.handle.gossip();
        counters.unauthenticated.load(std::sync::atomic::Ordering::Relaxed)
    };
    let noticed = async {
        while dropped() == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, noticed).await.expect("its datagrams are counted");
    assert_eq!(first.handle.view().state.members.len(), 2);
    assert!(!stranger.handle.view().state.exists());
    stop_all(vec![first, friend, stranger]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s2_garbage_on_either_port_harms_nobody() {
    let nodes = three([0, 1, 2], |_, options| options).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for node in &nodes {
        for n in 0..50usize {
            let garbage: Vec<u8> = (0..n * 20).map(|i| (i * n) as u8).collect();
            socket.send_to(&garbage, (LOOPBACK, node.port)).await.unwrap();
            let mut stream = TcpStream::connect((LOOPBACK, node.port)).await.unwrap();
            let _ = stream.write_all(&garbage).await;
        }
    }
    nodes[0].handle.create_store(StorePolicy::new("pages", 5)).await.unwrap();
    for node in &nodes {
        node.until("the store", |v| v.quorum && v.state.store_named("pages").is_some()).await;
    }
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_while_slots_move_are_kept_or_refused() {
    let first = start(options("demo-0", &[])).await;
    first.ready(1).await;
    let keys = first.keys.clone();
    let (stop, stopped) = tokio::sync::watch::channel(false);
    let writer = tokio::task::spawn_blocking(move || {
        let (mut written, mut at) = (Vec::new(), 0u16);
        // Few enough keys that the move still happens now and then; all in a burst in the middle.
        while !*stopped.borrow() {
            at = (at + 4099) % 16384;
            if at.is_multiple_of(997) && keys.write(at) {
                written.push(at);
            }
            std::thread::yield_now();
        }
        written
    });
    let second = start(options("demo-1", &[first.port])).await;
    second.ready(2).await;
    stop.send(true).unwrap();
    let written = writer.await.unwrap();
    let kept = first.keys.keys.lock().clone();
    assert!(written.iter().all(|slot| kept.contains(slot)), "an accepted write is gone");
    for slot in written {
        assert_eq!(second.handle.view().owner(slot), Some(first.id()));
    }
    stop_all(vec![first, second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_port_that_is_taken_and_a_damaged_file_are_named() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let build = |options: Options| options.build(Arc::new(Fake::default()));
    let error = build(Options { gossip_port: port, ..options("demo-0", &[]) }).await.err().unwrap();
    assert!(error.to_string().contains(&format!("127.0.0.1:{port}")), "{error}");
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("raft.redb"), b"garbage").unwrap();
    let data_dir = Some(directory.path().to_owned());
    let error = build(Options { data_dir, ..options("demo-0", &[]) }).await.err().unwrap();
    assert!(error.to_string().contains("raft.redb"), "{error}");
    let error = build(Options { join: vec!["x".into()], ..options("demo-0", &[]) }).await.err();
    assert!(error.unwrap().to_string().contains("'x' is not HOST:PORT"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_before_there_is_a_cluster_is_no_quorum() {
    let node = start(options("demo-0", &[free_ports(1)[0]])).await;
    assert!(node.handle.readiness()[0].contains("no cluster was found"));
    let refused = node.handle.propose(Change::DropStore(1)).await;
    assert!(matches!(refused, Err(Error::NoQuorum(_))), "{refused:?}");
    let status = node.handle.status().await;
    assert_eq!((status.cluster_id, &*status.ring.reason), (None, "NoCluster"));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newcomer_gets_the_table_by_a_snapshot_when_the_log_is_cut() {
    let first = start(options("demo-0", &[])).await;
    first.ready(1).await;
    for ttl in 1..=350 {
        let sessions = StorePolicy::new("sessions", 1);
        let policy = StorePolicy { default_ttl_ms: Some(ttl), ..sessions };
        first.handle.change_store(policy).await.unwrap();
    }
    assert!(first.handle.shared.metrics().purged.is_some());
    let second = start(options("demo-1", &[first.port])).await;
    let view = second.ready(2).await;
    assert_eq!(view.state.store_named("sessions").unwrap().default_ttl_ms, Some(350));
    second.handle.create_store(StorePolicy::new("pages", 5)).await.unwrap();
    stop_all(vec![first, second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_leader_itself_can_leave_and_come_back() {
    let nodes = three([0, 1, 2], |_, options| options).await;
    let leader = nodes[0].until("a leader", |view| view.leader.is_some()).await.leader.unwrap();
    let at = nodes.iter().position(|node| node.id() == leader).unwrap();
    let all = ["demo-0", "demo-1", "demo-2"];
    let others: Vec<&str> =
        all.into_iter().filter(|name| !name.ends_with(&at.to_string())).collect();
    nodes[at].handle.set_desired(desired(1, &others, vec![])).await.unwrap();
    for (i, node) in nodes.iter().enumerate().filter(|(i, _)| *i != at) {
        node.until(&format!("two members on {i}"), |view| {
            view.is_ok() && view.state.members.len() == 2 && view.leader != Some(leader)
        })
        .await;
    }
    nodes[(at + 1) % 3].handle.set_desired(desired(2, &all, vec![])).await.unwrap();
    for node in &nodes {
        node.ready(3).await;
        node.until("its slots", |view| view.state.assignment.counts().len() == 3).await;
    }
    stop_all(nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_members_of_one_name_are_told() {
    let first = start(options("demo-0", &[])).await;
    first.ready(1).await;
    let twin = start(options("demo-0", &[first.port])).await;
    let told = async {
        while !twin.handle.readiness()[0].contains("another member is named 'demo-0'") {
            tokio::task::yield_now().await;
        }
        while first.handle.status().await.problems.iter().all(|p| p.kind != "NameTaken") {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, told).await.expect("both say so");
    assert_eq!(first.handle.view().state.members.len(), 1);
    stop_all(vec![first, twin]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_that_name_themselves_by_host_names_find_each_other() {
    let named = |name: &str, join: Vec<String>| Options {
        host: "localhost".to_owned(),
        join,
        ..options(name, &[])
    };
    let first = start(named("demo-0", vec![])).await;
    first.ready(1).await;
    let second = start(named("demo-1", vec![format!("localhost:{}", first.port)])).await;
    second.ready(2).await;
    second.handle.create_store(StorePolicy::new("pages", 5)).await.unwrap();
    stop_all(vec![first, second]).await;
}
