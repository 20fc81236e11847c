//! `hypercache load`: asks servers that speak Redis's protocol or HTTP, as many users would, and tells how long
//! they took (docs/operations/load.md).
//!
//! | file | what it is about |
//! |---|---|
//! | `args`, `setup` | the command line, and the load that it asks for |
//! | `generator` | what is asked next: `command`, `fault`, `keys`, `sizes`, by `random` |
//! | `pace` | when: the open and the closed loop; `timer` waits for it |
//! | `wording`, `http`, `answer` | requests and answers as bytes |
//! | `topology` | who has which slot |
//! | `lane`, `connection` | sockets, and who asks over them |
//! | `tally`, `progress`, `report` | what came of it, and how it is told |

mod answer;
mod args;
mod command;
mod connection;
mod fault;
mod generator;
mod http;
mod keys;
mod lane;
mod pace;
mod progress;
mod random;
mod report;
mod setup;
mod sizes;
mod tally;
mod timer;
mod topology;
mod wording;

pub use args::LoadArgs;

use std::sync::Arc;

use futures::{StreamExt as _, TryStreamExt as _};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use connection::{Connection, look_up};
pub use lane::Error;
use progress::Progress;
use report::Report;
use setup::Setup;
use tally::Board;

/// So many connections are opened at once.
const OPENED_AT_ONCE: usize = 64;

/// Carries a load out. The process's exit code: 0 all was answered in time, and only what was wrong on purpose with
/// an error; 1 it was not; 2 it was refused; 3 a server could not be reached.
pub fn run(args: &LoadArgs, env: impl Fn(&str) -> Option<String>) -> u8 {
    let done = args.setup(env).map_err(Error::Refused).and_then(|setup| {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(setup.threads).enable_all().build();
        let runtime = runtime.map_err(|error| Error::Refused(format!("threads: {error}")))?;
        runtime.block_on(carry_out(Arc::new(setup), args))
    });
    match done {
        Ok(true) => 0,
        Ok(false) => 1,
        Err(error) => {
            eprintln!("hypercache: {error}");
            match error {
                Error::Refused(_) => 2,
                Error::Unreachable(_) => 3,
            }
        }
    }
}

/// Whether all was well.
async fn carry_out(setup: Arc<Setup>, args: &LoadArgs) -> Result<bool, Error> {
    let (stop, stopped) = watch::channel(false);
    let hook = |kind| signal(kind).map_err(|error| Error::Refused(format!("signals: {error}")));
    let mut interrupt = hook(SignalKind::interrupt())?;
    let mut terminate = hook(SignalKind::terminate())?;
    let signals = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        // The receivers are there until the load has ended.
        let _ = stop.send(true);
        std::future::pending().await
    };
    let load = async {
        if setup.fill {
            let board = phase(&setup, true, &mut Progress::new(args.quiet), &stopped).await?;
            let filled = Report::of(&board, false);
            if !args.quiet {
                let rate = filled.tally.answered() as f64 / filled.seconds.max(1e-9);
                eprintln!("{} keys were written: {rate:.0}/s", filled.tally.answered());
            }
            if !filled.is_well() {
                let kinds: Vec<_> =
                    filled.errors.iter().map(|(kind, n)| format!("{n} {kind}")).collect();
                return Err(Error::Refused(format!(
                    "keys could not be written: {}",
                    kinds.join(", ")
                )));
            }
        }
        let board = phase(&setup, false, &mut Progress::new(args.quiet), &stopped).await?;
        let report = Report::of(&board, *stopped.borrow());
        match args.json {
            true => println!("{}", report.json(&setup)),
            false => print!("{}", report.text(&setup)),
        }
        Ok(report.is_well())
    };
    tokio::select! {
        done = load => done,
        never = signals => never,
    }
}

/// Opens all connections, lets them ask, and waits for their end.
async fn phase(
    setup: &Arc<Setup>,
    filling: bool,
    progress: &mut Progress,
    stopped: &watch::Receiver<bool>,
) -> Result<Arc<Board>, Error> {
    let topology = match setup.cluster {
        true => Some(look_up(setup, &setup.targets).await?),
        false => None,
    };
    let lanes = futures::stream::iter(0..setup.connections)
        .map(|number| connection::open(setup, topology.as_ref(), number))
        .buffered(OPENED_AT_ONCE);
    let lanes: Vec<_> = lanes.try_collect().await?;
    let board = Arc::new(Board::new(setup.threads, topology));
    let mut connections = JoinSet::new();
    for (number, lanes) in lanes.into_iter().enumerate() {
        let connection = Connection::new(setup, &board, number, filling, lanes, stopped.clone());
        connections.spawn(connection.run());
    }
    let mut tick = tokio::time::interval(progress.period());
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    loop {
        tokio::select! {
            ended = connections.join_next() => match ended {
                None => break,
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(error))) => return Err(Error::Refused(format!("timers: {error}"))),
                Some(Err(error)) => return Err(Error::Refused(format!("a connection: {error}"))),
            },
            _ = tick.tick() => progress.tell(&board),
        }
    }
    progress.end();
    Ok(board)
}
