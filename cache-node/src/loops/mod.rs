//! The I/O loops: a thread each, with a runtime of its own.
//!
//! Clients' connections are spread over them ([`crate::server::resp`]), and so are the links to other members
//! ([`crate::replica`]): what a loop's clients have written is sent by the thread that ran it, behind all that is
//! readable, and what the peer confirms is read by the thread that answers them. Another thread for the links would
//! be woken for each cycle, and would wake the loop for each answer; that was half of what a confirmed write cost
//! (docs/decisions/0020-links-run-on-the-io-loops.md).
//!
//! What is about the cluster's health, Raft and gossip, has threads of its own: a long command stops a loop, and may
//! not look like a death.

mod cpu;
mod wakes;

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Handle, LocalOptions};
use tokio::sync::{mpsc, oneshot, watch};

use cpu::CpuClock;
pub use wakes::Wakes;

thread_local! {
    /// Which loop this thread is, and of how many.
    static HERE: Cell<Option<(u64, u64)>> = const { Cell::new(None) };
}

/// A number of its own for `number`, which [`Loops::of`] takes to the loop that this thread is; the same where it is none.
pub fn to_here(number: u64) -> u64 {
    HERE.get().map_or(number, |(index, count)| number.wrapping_mul(count).wrapping_add(index))
}

/// Jobs that a loop may be behind with.
const JOBS: usize = 16;

/// Why a loop could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start I/O loop {index} (node.threads): {source}")]
pub struct Error {
    /// Which loop.
    index: usize,
    /// What the system said.
    source: std::io::Error,
}

/// Makes a future where it is to run, which is never sent to another thread.
type Job = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

struct Loop {
    runtime: Handle,
    jobs: mpsc::Sender<Job>,
    clock: Option<CpuClock>,
}

/// What a loop did since it began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// How long it was not waiting for anything to do, as far as it was before it began with what it does now.
    pub busy: Duration,
    /// CPU time of its thread; `None` where the system does not say.
    pub cpu: Option<Duration>,
}

/// The loops, as those know them who run something there. Cheap to clone.
#[derive(Clone, Default)]
pub struct Loops(Arc<[Loop]>);

impl std::fmt::Debug for Loops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Loops").field(&self.len()).finish()
    }
}

impl Loops {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What each loop did so far. None of them does anything for it.
    pub fn figures(&self) -> Vec<Figures> {
        let of = |it: &Loop| Figures {
            // Its runtime reads the clock when it goes to wait and when it wakes, for itself.
            busy: it.runtime.metrics().worker_total_busy_duration(0),
            cpu: it.clock.and_then(CpuClock::read),
        };
        self.0.iter().map(of).collect()
    }

    /// The runtime of the loop that has this number, of all numbers there are; this thread's where there are no
    /// loops.
    ///
    /// # Panics
    /// Where there are no loops, outside of a runtime.
    pub fn of(&self, number: u64) -> Handle {
        let index = number.checked_rem(self.0.len() as u64).map(|index| index as usize);
        index
            .and_then(|index| self.0.get(index))
            .map_or_else(Handle::current, |it| it.runtime.clone())
    }

    /// Runs what `job` makes on a loop, until it ends or the loops do. What this gives ends then.
    pub async fn run<F: Future<Output = ()> + 'static>(
        &self,
        index: usize,
        job: impl FnOnce() -> F + Send + 'static,
    ) -> oneshot::Receiver<()> {
        let (ended, ends) = oneshot::channel::<()>();
        let job: Job = Box::new(move || {
            let work = job();
            Box::pin(async move {
                work.await;
                drop(ended);
            })
        });
        if let Some(to) = self.0.get(index) {
            let _ = to.jobs.send(job).await; // a loop that has ended: what is given ends as well
        }
        ends
    }
}

/// The threads of the loops. They end when this is dropped, and what runs on them with them.
pub struct Threads {
    loops: Loops,
    end: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts so many loops (at least one), each thread with a stack of `stack_bytes`.
    ///
    /// # Errors
    /// The system gives no thread or runtime.
    pub fn start(count: usize, stack_bytes: usize) -> Result<Self, Error> {
        let (end, ending) = watch::channel(false);
        let (mut loops, mut threads) = (Vec::new(), Vec::new());
        for index in 0..count.max(1) {
            let failed = |source| Error { index, source };
            let (jobs, to_do) = mpsc::channel(JOBS);
            let (started, start) = std::sync::mpsc::sync_channel(1);
            let ending = ending.clone();
            let body = move || {
                HERE.set(Some((index as u64, count.max(1) as u64)));
                let built = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build_local(LocalOptions::default());
                match built {
                    Ok(runtime) => {
                        let known = (runtime.handle().clone(), CpuClock::of_this_thread());
                        let _ = started.send(Ok(known));
                        runtime.block_on(turn(to_do, ending));
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            };
            let thread =
                std::thread::Builder::new().name(format!("io-{index}")).stack_size(stack_bytes);
            threads.push(thread.spawn(body).map_err(failed)?);
            let gone = || std::io::Error::other("its thread ended");
            let (runtime, clock) = start.recv().unwrap_or_else(|_| Err(gone())).map_err(failed)?;
            loops.push(Loop { runtime, jobs, clock });
        }
        Ok(Self { loops: Loops(loops.into()), end, threads })
    }

    /// The loops.
    pub fn loops(&self) -> Loops {
        self.loops.clone()
    }

    /// Ends the loops, and waits for their threads, at most for `patience`.
    pub async fn end(self, patience: Duration) {
        let Self { end, threads, .. } = self;
        end.send_replace(true);
        let joined = tokio::task::spawn_blocking(move || {
            threads.into_iter().for_each(|thread| {
                let _ = thread.join();
            });
        });
        if tokio::time::timeout(patience, joined).await.is_err() {
            tracing::warn!(action = "stop-not-in-time", "an I/O loop did not end in time");
        }
    }
}

/// What a loop does.
async fn turn(mut jobs: mpsc::Receiver<Job>, mut end: watch::Receiver<bool>) {
    let wakes = Wakes::of_this_thread();
    let mut tasks = tokio::task::JoinSet::new();
    tasks.spawn_local(async move { wakes.pass_on().await });
    loop {
        tokio::select! {
            Some(job) = jobs.recv() => drop(tasks.spawn_local(job())),
            // Those that have ended are let go.
            Some(_) = tasks.join_next() => {}
            _ = end.wait_for(|end| *end) => break,
        }
    }
    tasks.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_given_to_a_loop_runs_on_its_thread_until_the_loops_end() {
        let threads = Threads::start(2, 2 << 20).unwrap();
        let loops = threads.loops();
        assert_eq!(loops.len(), 2);
        let name = || std::thread::current().name().map(str::to_owned);
        assert_eq!(to_here(7), 7, "no loop");
        for number in [0, 1, 7] {
            let to_it = loops.of(number).spawn(async { to_here(5) }).await.unwrap();
            assert_eq!(to_it % 2, number % 2);
            let ran = loops.of(number).spawn(async move { name() }).await.unwrap();
            assert_eq!(ran, Some(format!("io-{}", number % 2)));
        }
        let (tell, told) = oneshot::channel();
        let ended = loops.run(1, move || async move { drop(tell.send(name())) }).await;
        assert_eq!(told.await.unwrap().as_deref(), Some("io-1"));
        assert!(ended.await.is_err());
        let endless = loops.run(0, std::future::pending::<()>).await;
        threads.end(Duration::from_secs(10)).await;
        assert!(endless.await.is_err());
    }

    /// The CPU time of this thread, or any time where the system does not say.
    fn spent(began: std::time::Instant) -> Duration {
        CpuClock::of_this_thread().and_then(CpuClock::read).unwrap_or_else(|| began.elapsed())
    }

    #[tokio::test]
    async fn a_loop_tells_how_long_it_was_busy_and_what_it_cost() {
        let threads = Threads::start(2, 2 << 20).unwrap();
        let loops = threads.loops();
        let worked = Duration::from_millis(20);
        let work = async move {
            let began = std::time::Instant::now();
            let before = spent(began);
            while spent(began) < before + worked {
                std::hint::spin_loop();
            }
        };
        loops.of(1).spawn(work).await.unwrap();
        let told = async {
            // It is told of when the loop is done with what there was to do.
            while loops.figures()[1].busy < worked {
                loops.of(1).spawn(async {}).await.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(30), told).await.unwrap();
        if cfg!(target_os = "linux") {
            let cpu: Vec<_> = loops.figures().iter().map(|of| of.cpu.unwrap()).collect();
            assert!(cpu[1] >= worked && Duration::ZERO < cpu[0] && cpu[0] < worked, "{cpu:?}");
        }
        threads.end(Duration::from_secs(10)).await;
        assert_eq!(loops.figures()[1].cpu, None, "its thread has ended");
    }
}
