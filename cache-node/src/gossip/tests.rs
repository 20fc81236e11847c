use super::{identity::Identity, swim::Swim, *};
use crate::peer::Secret;
use hypercache_core::cluster::{Liveness, Member, MemberId};
use proptest::prelude::*;
use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::atomic::Ordering,
    time::Duration,
};
use tokio::{net::UdpSocket, sync::watch, time::timeout};

fn member(id: MemberId, gossip_port: u16) -> Member {
    Member {
        id,
        name: format!("demo-{id}"),
        host: "127.0.0.1".into(),
        resp_port: 8080,
        http_port: 9080,
        gossip_port,
        zone: Some("a".into()),
        weight: 1,
        incarnation: 9,
    }
}

fn swim(id: MemberId, cluster_id: u64, secret: Option<&str>) -> Swim {
    let identity =
        Identity { member: member(id, id as u16), cluster_id, initialised: false, bump: 1000 };
    Swim::new(identity, Secret::new(secret), [id as u8; 32])
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// Members on a network that loses nothing but what `reaches` forbids.
struct Net {
    members: BTreeMap<u16, Swim>,
    now_ms: u64,
}

impl Net {
    fn run(&mut self, until_ms: u64, reaches: impl Fn(u16, u16) -> bool) {
        while self.now_ms < until_ms {
            self.now_ms += 10;
            let ports: Vec<u16> = self.members.keys().copied().collect();
            for from in ports {
                let mut datagrams = Vec::new();
                if let Some(swim) = self.members.get_mut(&from) {
                    swim.tick(self.now_ms);
                    datagrams.extend(std::iter::from_fn(|| swim.next_datagram()));
                }
                for (to, datagram) in datagrams {
                    let to = to.member.gossip_port;
                    if let Some(swim) = self.members.get_mut(&to).filter(|_| reaches(from, to)) {
                        let _ = swim.receive(address(from), &datagram, self.now_ms);
                    }
                }
            }
        }
    }

    fn alive(&self, port: u16) -> Vec<MemberId> {
        let rumours = self.members[&port].rumours();
        let alive = rumours.iter().filter(|r| r.seen.liveness == Liveness::Alive);
        alive.map(|r| r.seen.member.id).collect()
    }
}

fn three() -> Net {
    let members = (1..=3).map(|id| (id, swim(u64::from(id), 0, None))).collect();
    let mut net = Net { members, now_ms: 0 };
    for port in [1, 3] {
        net.members.get_mut(&port).unwrap().announce(address(2), 0);
    }
    net.run(3_000, |_, _| true);
    net
}

#[test]
fn members_that_know_one_in_common_find_all() {
    let net = three();
    assert_eq!(net.alive(1), [2, 3]);
    assert_eq!(net.alive(2), [1, 3]);
    assert_eq!(net.alive(3), [1, 2]);
}

#[test]
fn l25_a_member_in_its_own_join_list_is_fine() {
    let mut net = three();
    let now_ms = net.now_ms;
    net.members.get_mut(&1).unwrap().announce(address(1), now_ms);
    net.run(now_ms + 1000, |_, _| true);
    assert_eq!(net.alive(1), [2, 3]);
}

#[test]
fn a_silent_member_is_down_and_comes_back() {
    let mut net = three();
    net.run(net.now_ms + 15_000, |from, to| from != 3 && to != 3);
    assert_eq!(net.alive(1), [2]);
    net.run(net.now_ms + 20_000, |_, _| true);
    assert_eq!(net.alive(1), [2, 3]);
    assert_eq!(net.alive(3), [1, 2]);
}

#[test]
fn a_member_that_all_suspect_and_nobody_tells_is_alive_again() {
    let mut net = three();
    let now_ms = net.now_ms;
    for port in [1, 2] {
        net.members.get_mut(&port).unwrap().hear_of_suspicion(3, now_ms);
    }
    assert_eq!((net.alive(1), net.alive(2)), (vec![2], vec![1]));
    net.run(now_ms + 10_000, |_, _| true);
    assert_eq!((net.alive(1), net.alive(2)), (vec![2, 3], vec![1, 3]));
}

#[test]
fn what_a_member_says_of_itself_is_told_on() {
    let mut net = three();
    let now_ms = net.now_ms;
    net.members.get_mut(&1).unwrap().describe(77, true, now_ms);
    net.run(now_ms + 3_000, |_, _| true);
    let rumours = net.members[&3].rumours();
    let seen = &rumours.iter().find(|r| r.seen.member.id == 1).unwrap().seen;
    assert_eq!((seen.cluster_id, seen.initialised, seen.liveness), (77, true, Liveness::Alive));
    assert_eq!(seen.member, member(1, 1));
}

#[test]
fn members_of_other_clusters_and_secrets_are_dropped() {
    let datagram = |swim: &mut Swim| {
        swim.announce(address(9), 0);
        swim.next_datagram().unwrap().1
    };
    let mut ours = swim(9, 5, Some("red"));
    let foreign = datagram(&mut swim(1, 6, Some("red")));
    assert_eq!(ours.receive(address(1), &foreign, 0), Err(codec::Dropped::OtherCluster));
    let unknown = datagram(&mut swim(1, 5, Some("blue")));
    assert_eq!(ours.receive(address(1), &unknown, 0), Err(codec::Dropped::Unauthenticated));
    let mut later = datagram(&mut swim(1, 5, Some("red")));
    assert_eq!(ours.receive(address(1), &later, 0), Ok(()));
    later[0] = VERSION + 1;
    assert_eq!(ours.receive(address(1), &later, 0), Err(codec::Dropped::ForeignVersion));
    assert_eq!(ours.rumours().len(), 1);
}

proptest! {
    #[test]
    fn s2_no_datagram_harms(
        garbage in prop::collection::vec(any::<u8>(), 0..300), seal in any::<bool>()
    ) {
        let secret = Secret::new(None);
        let datagram = if seal { codec::seal(&secret, 0, &garbage) } else { garbage };
        prop_assert!(swim(1, 0, None).receive(address(2), &datagram, 0).is_err());
    }

    #[test]
    fn s2_no_damaged_datagram_harms(at in 0usize..200, bit in 0u8..8, cut in 0usize..200) {
        let secret = Secret::new(None);
        let mut other = swim(2, 0, None);
        other.announce(address(1), 0);
        let datagram = other.next_datagram().unwrap().1;
        let mut message = codec::open(&secret, 0, &datagram).unwrap().to_vec();
        let at = at % message.len();
        message[at] ^= 1 << bit;
        message.truncate(message.len() - cut % message.len());
        let _ = swim(1, 0, None).receive(address(2), &codec::seal(&secret, 0, &message), 0);
    }
}

async fn started(id: MemberId, join: Vec<String>) -> (u16, Handle, watch::Sender<bool>) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = socket.local_addr().unwrap().port();
    let options = Options {
        me: member(id, port),
        cluster_id: 0,
        initialised: false,
        join,
        secret: Secret::new(None),
    };
    let (gossip, handle) = options.build(socket).unwrap();
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(gossip.run(stopped));
    (port, handle, stop)
}

async fn until(handle: &Handle, what: impl Fn(&[Rumour]) -> bool) {
    let mut rumours = handle.rumours();
    let waited = rumours.wait_for(|rumours| what(rumours));
    timeout(Duration::from_secs(30), waited).await.expect("in time").unwrap();
}

fn is(id: MemberId, liveness: Liveness) -> impl Fn(&[Rumour]) -> bool {
    move |rumours| rumours.iter().any(|r| r.seen.member.id == id && r.seen.liveness == liveness)
}

#[tokio::test]
async fn members_find_each_other_over_udp_by_name_and_one_that_leaves_is_seen_to() {
    let (first_port, first, _stop) = started(1, vec![]).await;
    let join = vec![format!("localhost:{first_port}"), "no-such-host.invalid:1".into()];
    let (_, second, stop) = started(2, join).await;
    until(&first, is(2, Liveness::Alive)).await;
    until(&second, is(1, Liveness::Alive)).await;
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for garbage in [&b""[..], &[VERSION; 60], &[0xff; 1400]] {
        socket.send_to(garbage, address(first_port)).await.unwrap();
    }
    stop.send(true).unwrap();
    until(&first, is(2, Liveness::Down)).await;
    let dropped = &first.counters();
    assert!(dropped.unauthenticated.load(Ordering::Relaxed) >= 1);
    assert!(dropped.foreign_version.load(Ordering::Relaxed) >= 1);
}
