//! Putting the cluster layer together.

use super::{
    Error, Handle, control,
    copies::Copies,
    deaths::{self, Deaths},
    disk::{Disk, Key},
    election, failover,
    failover::FailOvers,
    leader,
    log::{LogStore, load},
    machine::Machine,
    network::{self, Links, Network},
    observer, ports,
    serving::{Serving, Slots},
    shared::Shared,
    stopping::Stopping,
};
use crate::{
    gossip,
    loops::Loops,
    peer::{self, Handlers, Identity, Kind, Secret, Server},
};
use arc_swap::ArcSwap;
use hypercache_core::{
    cluster::{Member, MemberId, Planner, Protocol, View},
    store::StorePolicy,
};
use parking_lot::Mutex;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{net::UdpSocket, sync::watch, task::JoinSet};

const STOP_TIMEOUT: Duration = Duration::from_secs(3);
/// A voter that heard of a leader votes for no other one for so long.
pub const RAFT_LEASE: Duration = Duration::from_millis(700);

/// How a member takes part in a cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// The member's name, unique in the cluster.
    pub name: String,
    /// Where it keeps its number and Raft's log; without one it is a new member at each start.
    pub data_dir: Option<PathBuf>,
    /// The address to listen on.
    pub bind: IpAddr,
    /// Where the others, and cluster-mode clients, reach it: a host name or an address.
    pub host: String,
    /// RESP's port, to tell the others.
    pub resp_port: u16,
    /// The port on which cluster-mode clients are sent to the members of their keys, to tell the others.
    pub cluster_port: Option<u16>,
    /// HTTP's port, to tell the others.
    pub http_port: u16,
    /// Gossip's UDP port, and TCP between members; 0: any that is free.
    pub gossip_port: u16,
    /// The failure zone.
    pub zone: Option<String>,
    /// The share of slots against the others', usually 1.
    pub weight: u32,
    /// `HOST:PORT` of others, or of names that stand for all of them.
    pub join: Vec<String>,
    /// How many members make a new cluster. Without it: 1 when there is nobody to join, else this
    /// member only ever joins.
    pub bootstrap_members: Option<usize>,
    /// The cluster's secret.
    pub secret: Option<String>,
    /// The stores of a cluster that this member makes.
    pub stores: Vec<StorePolicy>,
    /// The bytes of slots on their way to one member in a second, unless the table says others.
    pub move_bytes_per_second: u64,
    /// The newest version that this member speaks while the cluster asks for no newer one.
    pub max_protocol: Protocol,
    /// Where connections that replicate are served.
    pub loops: Loops,
}

/// A member's part in the cluster, ready to run.
pub struct Cluster {
    handle: Handle,
    handlers: Arc<Handlers>,
    server: Server,
    gossip: gossip::Gossip,
    log: LogStore,
    /// Ends when the data directory's file is closed.
    disk: Option<watch::Receiver<()>>,
}

fn raft_config() -> Result<openraft::Config, Error> {
    openraft::Config {
        cluster_name: "hypercache".to_owned(),
        heartbeat_interval: 100,
        election_timeout_min: 400,
        election_timeout_max: RAFT_LEASE.as_millis() as u64,
        // The table is small and changes seldom: snapshots are cheap, a long log is not.
        snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(200),
        max_in_snapshot_log_to_keep: 100,
        install_snapshot_timeout: 10_000,
        enable_pre_vote: Some(true),
        api_channel_size: Some(1024),
        notification_channel_size: Some(4096),
        ..openraft::Config::default()
    }
    .validate()
    .map_err(|error| Error::Failed(format!("Raft's configuration: {error}")))
}

pub(super) fn random_id() -> Result<MemberId, Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| Error::Failed(format!("randomness: {error}")))?;
    Ok(u64::from_be_bytes(bytes).max(1))
}

/// Binds UDP and TCP on the same port.
async fn bind(
    address: SocketAddr,
    me: &Arc<Identity>,
    secret: &Secret,
    handlers: &Arc<Handlers>,
    loops: &Loops,
) -> Result<(UdpSocket, Server, u16), Error> {
    let failed = |what: &str, error: io::Error| Error::Bind {
        what: format!("{what} {address} (gossip port)"),
        reason: error.to_string(),
    };
    let mut attempts = 0;
    loop {
        let socket = UdpSocket::bind(address).await.map_err(|error| failed("UDP", error))?;
        let port = socket.local_addr().map_err(|error| failed("UDP", error))?.port();
        let tcp = SocketAddr::new(address.ip(), port);
        let server = Server::bind(tcp, me.clone(), secret.clone(), handlers.clone(), loops.clone());
        match server.await {
            Ok(server) => return Ok((socket, server, port)),
            Err(error) if address.port() == 0 && attempts < 20 => {
                tracing::debug!(action = "port-taken", %error, port, "taken over TCP: another one");
                attempts += 1;
            }
            Err(error) => return Err(failed("TCP", error)),
        }
    }
}

impl Options {
    /// Opens the data directory, binds the port and prepares Raft. Nothing runs yet.
    ///
    /// # Errors
    /// A file that is damaged, foreign or newer; a port that is taken; a bad join entry.
    pub async fn build(self, slots: Arc<dyn Slots>) -> Result<Cluster, Error> {
        let fresh = random_id()?;
        let (disk, id) = match self.data_dir.clone() {
            Some(directory) => {
                let opened =
                    tokio::task::spawn_blocking(move || Disk::open(&directory, fresh)).await;
                let (disk, id) = opened.map_err(|error| Error::Failed(error.to_string()))??;
                (Some(disk), id)
            }
            None => (None, fresh),
        };
        let log = LogStore::open(disk.clone())?;
        let cluster_id: u64 = match &disk {
            Some(disk) => load(disk, Key::Cluster)?.unwrap_or(0),
            None => 0,
        };
        let incarnation = random_id()?;
        let serving = Arc::new(Serving::new(id, incarnation, slots));
        let closed = disk.as_ref().map(|disk| disk.closed());
        let (machine, table) = Machine::open(disk, serving.clone())?;

        let identity = Identity::new(id, cluster_id).up_to(self.max_protocol);
        identity.set_common(table.borrow().protocol());
        let identity = Arc::new(identity);
        let secret = Secret::new(self.secret.as_deref());
        let handlers = Arc::new(Handlers::default());
        let address = SocketAddr::new(self.bind, self.gossip_port);
        let (socket, server, gossip_port) =
            bind(address, &identity, &secret, &handlers, &self.loops).await?;
        let me = Member {
            id,
            name: self.name,
            host: self.host,
            resp_port: self.resp_port,
            http_port: self.http_port,
            gossip_port,
            zone: self.zone,
            weight: self.weight,
            incarnation,
        };
        let pristine = log.is_pristine();
        let (gossip, gossip_handle) = gossip::Options {
            me: me.clone(),
            cluster_id,
            initialised: !pristine,
            join: self.join.clone(),
            secret: secret.clone(),
        }
        .build(socket)
        .map_err(|error| Error::Failed(error.to_string()))?;

        let peers = peer::Client::new(identity.clone(), secret, self.loops);
        let links = Arc::new(Links::new(id, incarnation, peers));
        let raft = super::types::Raft::build(
            id,
            Arc::new(raft_config()?),
            Network(links.clone()),
            log.clone(),
            machine,
        )
        .await
        .map_err(|error| Error::Failed(format!("Raft: {error}")))?;

        let (stop, _) = watch::channel(false);
        let (stopped, _) = watch::channel(false);
        let (changed, _) = watch::channel(0);
        let joins = !self.join.is_empty();
        let shared = Arc::new(Shared {
            wanted: self.bootstrap_members.or((!joins).then_some(1)),
            me,
            joins,
            stores: self.stores,
            cluster_port: self.cluster_port,
            cluster_ports: Mutex::default(),
            move_bytes_per_second: self.move_bytes_per_second,
            raft: raft.clone(),
            links: links.clone(),
            identity,
            gossip: gossip_handle,
            serving,
            copies: OnceLock::new(),
            deaths: Deaths::default(),
            stopping: Stopping::default(),
            fail_overs: FailOvers::default(),
            last_leader: Mutex::default(),
            table,
            view: ArcSwap::from_pointee(View { me: id, ..View::default() }),
            targets: Mutex::new(Planner::that_looks()),
            changed,
            stop,
            stopped,
        });
        let answers = network::Answers { links, raft: OnceLock::new() };
        let _ = answers.raft.set(raft);
        handlers.set(Kind::Raft, Arc::new(answers));
        let control = control::Answers::default();
        let _ = control.0.set(Arc::downgrade(&shared));
        handlers.set(Kind::Control, Arc::new(control));
        let handle = Handle { shared };
        Ok(Cluster { handle, handlers, server, gossip, log, disk: closed })
    }
}

impl Cluster {
    /// Asks the cluster layer.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Asks other members.
    pub fn peers(&self) -> peer::Client {
        self.handle.shared.links.peers.clone()
    }

    /// The gossip port that was bound.
    pub fn gossip_port(&self) -> u16 {
        self.handle.shared.me.gossip_port
    }

    /// Who answers forwarded commands; may be set once.
    pub fn on_forward(&self, handler: Arc<dyn peer::Handler>) {
        self.handlers.set(Kind::Forward, handler);
    }

    /// Who lets other members' clients wait for keys; may be set once.
    pub fn on_wait(&self, handler: Arc<dyn peer::Handler>) {
        self.handlers.set(Kind::Wait, handler);
    }

    /// Who takes what other members do to slots that this one keeps as well; may be set once.
    pub fn on_replicate(&self, handler: Arc<dyn peer::Handler>) {
        self.handlers.set(Kind::Replicate, handler);
    }

    /// Who delivers what other members publish; may be set once.
    pub fn on_publish(&self, handler: Arc<dyn peer::Handler>) {
        self.handlers.set(Kind::Publish, handler);
    }

    /// Who answers for this member's copies of slots; may be set once, before it runs. Without one,
    /// nothing is replicated, and what is empty can be handed over.
    pub fn on_copies(&self, copies: Arc<dyn Copies>) {
        let _ = self.handle.shared.copies.set(copies);
    }

    /// Runs until [`Handle::shutdown`].
    ///
    /// # Errors
    /// When Raft cannot start.
    pub async fn run(self) -> Result<(), Error> {
        let shared = self.handle.shared.clone();
        drop(self.handle);
        let mut stop = shared.stop.subscribe();
        let mut tasks = JoinSet::new();
        tasks.spawn(self.server.run(stop.clone()));
        tasks.spawn(self.gossip.run(stop.clone()));
        shared.raft.run();
        tasks.spawn(observer::observe(shared.clone()));
        tasks.spawn(leader::drive(shared.clone()));
        tasks.spawn(deaths::watch_all(shared.clone()));
        tasks.spawn(failover::drive(shared.clone()));
        tasks.spawn(failover::tell_of_restart(shared.clone()));
        tasks.spawn(election::follow(shared.clone()));
        tasks.spawn(ports::learn(shared.clone()));
        tasks.spawn(elect_oneself(shared.clone()));
        let _ = stop.wait_for(|stop| *stop).await;
        let _ = tokio::time::timeout(STOP_TIMEOUT, async {
            let _ = shared.raft.shutdown().await;
            while tasks.join_next().await.is_some() {}
        })
        .await;
        tasks.shutdown().await;
        if let Ok(Err(error)) = tokio::time::timeout(STOP_TIMEOUT, self.log.finish()).await {
            tracing::warn!(action = "raft-log-not-finished", %error, "it learns from others what is decided");
        }
        shared.links.peers.retain(&Default::default());
        // Raft's own tasks end a moment after it says that it has stopped.
        if let Some(mut disk) = self.disk
            && tokio::time::timeout(STOP_TIMEOUT, disk.changed()).await.is_err()
        {
            tracing::warn!(action = "data-directory-in-use", "the data directory is still in use");
        }
        shared.stopped.send_replace(true);
        Ok(())
    }
}

/// A cluster's only voter need not wait for a leader to speak before it leads again.
async fn elect_oneself(shared: Arc<Shared>) {
    use openraft::ServerState;
    let metrics = shared.raft.wait(Some(Duration::from_secs(2)));
    let me = shared.me.id;
    let ready = metrics.metrics(
        |m| {
            let mut voters = m.membership_config.membership().voter_ids();
            let alone = voters.next() == Some(me) && voters.next().is_none();
            m.state == ServerState::Leader || (alone && m.state == ServerState::Follower)
        },
        "the only voter",
    );
    if let Ok(found) = ready.await
        && found.state == ServerState::Follower
    {
        let _ = shared.raft.trigger().elect(false).await;
    }
}
