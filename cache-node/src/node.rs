//! One member, put together, started and stopped.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hypercache_core::keyspace::{self, Keyspace};
use hypercache_log::Levels;
use hypercache_trace::Push;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};

use crate::backup;
use crate::clock::now_ms;
use crate::config::Config;
use crate::disk;
use crate::loops;
use crate::memory::{self, Memory};
use crate::pubsub::{self, PubSub};
use crate::raft;
use crate::replica;
use crate::router::{self, Blocked, Forwarded, Router};
use crate::script::{self, Scripts};
use crate::server::logins::Logins;
use crate::server::resp::pause::Pause;
use crate::server::stats::Stats;
use crate::server::{http, resp};
use crate::telemetry::{self, trace::Traces};

/// Threads of the control runtime: gossip, Raft, peers, HTTP.
const CONTROL_THREADS: usize = 2;
/// How long requests that are under way may take to end once the member is told to stop.
const GRACE: Duration = Duration::from_secs(5);
/// How often a member that stops hands over what came to it meanwhile.
const GIVE_BACK: Duration = Duration::from_millis(100);
/// How long a member that stops waits until others have enough copies without its own.
const NOT_NEEDED: Duration = Duration::from_secs(1);
/// How long the last spans may take to be sent.
const LAST_SPANS: Duration = Duration::from_secs(2);
/// Keys that one step of the expiry cycle looks at.
const EXPIRY_BUDGET: usize = 20_000;
/// How often it is looked how much is allocated.
const LOOK_PAUSE: Duration = Duration::from_secs(1);
/// The pause between steps while there is more to remove.
const EXPIRY_PAUSE: Duration = Duration::from_millis(2);

/// Why a member did not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Logs or traces cannot be set up.
    #[error(transparent)]
    Telemetry(#[from] telemetry::Error),
    /// The system gives no threads, signals or randomness.
    #[error("{what}: {reason}")]
    System {
        /// What was asked of it.
        what: &'static str,
        /// What it said.
        reason: String,
    },
    /// The RESP server.
    #[error(transparent)]
    Resp(#[from] resp::Error),
    /// The HTTP server.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// The I/O loops.
    #[error(transparent)]
    Loops(#[from] loops::Error),
    /// What is kept on disk.
    #[error(transparent)]
    Disk(#[from] disk::Error),
    /// The cluster's table.
    #[error(transparent)]
    Raft(#[from] raft::Error),
    /// A part ended although it should run for ever.
    #[error("{0} has stopped")]
    Stopped(&'static str),
    /// A part broke.
    #[error("a part of the member broke: {0}")]
    Broken(#[from] JoinError),
}

fn system(what: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |error| Error::System { what, reason: error.to_string() }
}

/// Runs a member until it is told to stop by SIGTERM or SIGINT.
///
/// # Errors
/// Why it could not start, or could not go on.
pub fn run(config: Config) -> Result<(), Error> {
    let guard = telemetry::Options::from(&config).install()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(CONTROL_THREADS)
        .thread_name("control")
        .thread_stack_size(script::STACK_BYTES)
        .enable_all()
        .build()
        .map_err(system("threads"))?;
    let served = runtime.block_on(serve(config, guard.levels(), guard.traces()));
    if let Err(error) = &served {
        tracing::error!(action = "member-stops", %error, "the member stops");
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
    guard.shutdown(LAST_SPANS);
    served
}

fn random_seeds() -> Result<[u64; 2], Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::System { what: "randomness", reason: error.to_string() })?;
    let (a, b) = bytes.split_at(8);
    let number = |part: &[u8]| part.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
    Ok([number(a), number(b)])
}

async fn serve(config: Config, levels: Levels, traces: Traces) -> Result<(), Error> {
    let started_ms = now_ms();
    // Before anything else, so that no signal is missed.
    let mut terminated = signal(SignalKind::terminate()).map_err(system("signals"))?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(system("signals"))?;

    let config = Arc::new(config);
    let [hash_seed, eviction_seed] = random_seeds()?;
    let keyspace = Arc::new(Keyspace::new(keyspace::Options { hash_seed, eviction_seed }));
    let stats = Arc::new(Stats::new(config.node.threads));
    stats.keep_request_metrics(config.telemetry.request_metrics);
    let watched = memory::Options { limit_bytes: config.node.memory_limit_bytes }
        .start(&keyspace)
        .map_err(system("threads"))?;
    let memory = watched.memory();
    let network = &config.network;
    let listen = |port, key| resp::listen(SocketAddr::new(network.bind, port), key);
    let resp_listener = listen(network.resp_port, "network.resp_port")?;
    let cluster_listener =
        network.cluster_port.map(|port| listen(port, "network.cluster_port")).transpose()?;
    let http_listener = http::listen(SocketAddr::new(network.bind, network.http_port)).await?;

    let threads = loops::Threads::start(config.node.threads, script::STACK_BYTES)?;
    let loops = threads.loops();
    let disk = disk::Options {
        data_dir: config.node.data_dir.clone(),
        keyspace: keyspace.clone(),
        stores: config.stores.clone(),
    };
    let disk = tokio::task::spawn_blocking(move || disk.open()).await??;
    let cluster = raft::Options {
        name: config.node.id.clone(),
        data_dir: config.node.data_dir.clone(),
        bind: network.bind,
        host: network.advertise.clone(),
        resp_port: resp_listener.port(),
        cluster_port: cluster_listener.as_ref().map(resp::Listener::port),
        http_port: http_listener.port(),
        gossip_port: network.gossip_port,
        zone: config.node.zone.clone(),
        weight: config.node.weight,
        join: config.cluster.join.clone(),
        bootstrap_members: match config.cluster.bootstrap_members {
            0 => None,
            members => Some(members as usize),
        },
        secret: config.cluster.secret.as_ref().map(|s| s.expose().to_owned()),
        stores: config.stores.clone(),
        move_bytes_per_second: config.cluster.move_bytes_per_second,
        max_protocol: config.cluster.max_protocol,
        loops: loops.clone(),
    }
    .build(disk.gate())
    .await?;
    // What the table says is known now, as far as it was when the member ended.
    let (disk, kept) = tokio::task::spawn_blocking(move || disk.start()).await??;
    let handle = cluster.handle();
    let router = Router::new(router::Options {
        keyspace: keyspace.clone(),
        cluster: handle.clone(),
        peers: cluster.peers(),
        stats: stats.clone(),
        request_timeout: Duration::from_millis(network.request_timeout_ms),
        scripts: Arc::new(Scripts::new(
            config.script.time_limit_ms,
            config.script.memory_bytes,
            stats.clone(),
        )),
        disk: disk.clone(),
        times: Arc::default(),
        heard: router::Heard::default(),
        traces,
    });
    let pause = Arc::new(Pause::default());
    let held = pause.clone();
    let held = Arc::new(move |args: &[&[u8]]| held.is_on() && held.holds_forwarded(args));
    cluster.on_forward(Arc::new(Forwarded::new(router.clone(), held.clone())));
    cluster.on_wait(Arc::new(Blocked::new(router.clone(), held)));
    let replication = replica::Options {
        keyspace: keyspace.clone(),
        cluster: handle.clone(),
        peers: cluster.peers(),
        loops: loops.clone(),
        is_whole: Arc::new({
            let disk = disk.clone();
            move || disk.stats().recovery.is_some_and(|recovery| recovery.is_whole())
        }),
        check_interval: Duration::from_millis(config.cluster.check_interval_ms),
    }
    .build();
    cluster.on_replicate(Arc::new(replication.receiver()));
    let (replicas, hand_over) = (replication.handle(), replication.hand_over());
    cluster.on_copies(Arc::new(hand_over.clone()));
    let registry = Arc::new(pubsub::Registry::new(stats.clone()));
    cluster.on_publish(Arc::new(pubsub::Arrivals::new(registry.clone())));
    let relay = pubsub::Relay::new(handle.clone(), cluster.peers(), stats.clone());
    let pubsub = Arc::new(PubSub::new(registry, relay));

    keyspace.notices().set_classes(config.keyspace_events);
    let events = pubsub::Events::new(keyspace.clone(), handle.clone(), pubsub.clone());

    let push = telemetry::push(&config)?;
    let gossip_port = cluster.gossip_port();
    let logins = Arc::new(Logins::default());
    let resp = resp::Options {
        listener: resp_listener,
        cluster_listener,
        loops: loops.clone(),
        router: router.clone(),
        pubsub,
        stats: stats.clone(),
        pause: pause.clone(),
        replicas: replicas.clone(),
        config: config.clone(),
        memory: memory.clone(),
        levels: levels.clone(),
        logins: logins.clone(),
        started_ms,
    }
    .build();
    let (password, max_connections) = (resp.password(), resp.max_connections());
    let (member, name) = (config.node.id.clone(), config.cluster.name.clone());
    let backups = backup::Service::new(disk.clone(), config.backup.clone(), member, name);
    let http = http::build(
        http_listener,
        http::State {
            router,
            cluster: handle.clone(),
            keyspace: keyspace.clone(),
            replicas,
            loops,
            stats: stats.clone(),
            config: config.clone(),
            memory: memory.clone(),
            backups,
            password: Arc::new(password),
            logins,
            max_connections: Arc::new(max_connections),
            points: push.as_ref().map(Push::sent).unwrap_or_default(),
            started_ms,
        },
    );

    tracing::info!(
        action = "member-serves",
        bind = %network.bind,
        resp_port = resp.port(),
        cluster_port = resp.cluster_port(),
        http_port = http.address().port(),
        gossip_port,
        threads = config.node.threads,
        stores = config.stores.len(),
        "the member serves"
    );

    let (stop, stopping) = watch::channel(false);
    let mut parts: JoinSet<Result<&'static str, Error>> = JoinSet::new();
    parts.spawn(
        async move { cluster.run().await.map(|()| "the cluster's part").map_err(Error::from) },
    );
    let watched = handle.clone();
    let mut stopped = stopping.clone();
    parts.spawn(async move {
        tokio::select! {
            error = watched.broken() => Err(error.into()),
            _ = stopped.wait_for(|stop| *stop) => Ok("the watch of Raft"),
        }
    });
    let stopped = stopping.clone();
    parts.spawn(async move {
        replication.run(stopped).await;
        Ok("replication")
    });
    let (close, closing) = watch::channel(false);
    let (closed, mut is_closed) = watch::channel(false);
    parts.spawn(async move {
        resp.run(closing, GRACE).await;
        closed.send_replace(true);
        Ok("the RESP server")
    });
    if let Some(push) = push {
        let (text, mut stopped) = (http.metrics(), stopping.clone());
        parts.spawn(async move {
            let told = async move {
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            push.run(text, told).await;
            Ok("the metrics that are sent")
        });
    }
    let mut stopped = stopping.clone();
    parts.spawn(async move {
        let told = async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        http.run(told, GRACE).await;
        Ok("the HTTP server")
    });
    let mut stopped = stopping.clone();
    parts.spawn(async move {
        tokio::select! {
            () = events.run() => {}
            _ = stopped.wait_for(|stop| *stop) => {}
        }
        Ok("the keyspace events")
    });
    let interval = Duration::from_millis(config.cleanup_interval_ms.max(1));
    parts.spawn(async move {
        let watched = Watched {
            keyspace: &keyspace,
            stats: &stats,
            clients: &pause,
            memory: &memory,
            disk: &disk,
        };
        expire(watched, interval, stopping).await;
        Ok("the expiry cycle")
    });

    let ended = tokio::select! {
        _ = terminated.recv() => Ok(()),
        _ = interrupted.recv() => Ok(()),
        Some(ended) = parts.join_next() => match ended {
            Ok(Ok(part)) => Err(Error::Stopped(part)),
            Ok(Err(error)) => Err(error),
            Err(broken) => Err(broken.into()),
        },
    };
    tracing::info!(action = "member-stops", "the member stops");
    handle.tell_of_stop().await;
    // First others get what this one has, and learn that it goes; clients are served until then.
    hand_over.all(GRACE).await;
    handle.step_down().await;
    // What they have asked is answered while this member is one of the cluster's yet.
    close.send_replace(true);
    let until = Instant::now() + 2 * GRACE;
    loop {
        let closed = tokio::time::timeout(GIVE_BACK, is_closed.wait_for(|closed| *closed)).await;
        // Never broken off: what is fenced is handed over or kept.
        hand_over.all(GRACE).await;
        if closed.is_ok() || Instant::now() >= until {
            break;
        }
    }
    hand_over.not_needed(NOT_NEEDED).await;
    // What is asked of Raft from now on fails because it was told to stop: no error of anybody's.
    let _ = levels.silence("openraft");
    handle.shutdown().await;
    stop.send_replace(true);
    let rest = async { while parts.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE + Duration::from_secs(1), rest).await.is_err() {
        tracing::warn!(action = "stop-not-in-time", "not everything ended in time");
    }
    threads.end(GRACE).await;
    tokio::task::spawn_blocking(move || kept.stop()).await?;
    ended
}

/// What the expiry cycle works on, and what it asks.
struct Watched<'a> {
    keyspace: &'a Keyspace,
    stats: &'a Stats,
    clients: &'a Pause,
    memory: &'a Memory,
    disk: &'a disk::Handle,
}

/// Removes expired keys that nobody asks for, a step at an interval, and the next soon where one
/// was not enough.
async fn expire(of: Watched<'_>, interval: Duration, mut stop: watch::Receiver<bool>) {
    let Watched { keyspace, stats, clients, memory, disk } = of;
    let (mut pause, mut looked) = (interval, Instant::now());
    loop {
        if tokio::time::timeout(pause, stop.wait_for(|stop| *stop)).await.is_ok() {
            return;
        }
        disk.look_at_speed();
        // Data that clients may not change stays as it is; nobody sees what has expired.
        // What is read from the disk may still be told to live longer.
        if clients.now().is_some() || disk.is_loading() {
            continue;
        }
        let began = Instant::now();
        // More is looked at where memory runs out, in steps that let the others run.
        let mut removed = 0;
        for _ in 0..memory.expire_factor() {
            let gone = keyspace.expire_cycle(now_ms(), EXPIRY_BUDGET);
            removed += gone;
            if gone == 0 {
                break;
            }
            tokio::task::yield_now().await;
        }
        if began.duration_since(looked) >= LOOK_PAUSE {
            looked = began;
            stats.peak_allocated(telemetry::process::allocated_bytes());
        }
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        stats.watch.moment("expire-cycle", took_ms);
        keyspace.prune_watches(now_ms());
        pause = if removed > EXPIRY_BUDGET / 4 { EXPIRY_PAUSE } else { interval };
    }
}
