//! What wakes the tasks of a loop from other threads, told to the loop at once for many.
//!
//! A runtime of one thread is told of each wake by another thread with a system call of its own. What a peer
//! confirms, or what is on the disk, wakes a task for each client that waits: a hundred calls, where one tells the
//! loop as much.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::*};
use std::task::{Context, Wake, Waker};

use parking_lot::Mutex;
use tokio::sync::Notify;

thread_local! {
    /// Those of the loop that this thread is.
    static MINE: RefCell<Option<Arc<Wakes>>> = const { RefCell::new(None) };
}

/// The tasks of one loop that others have woken, and that it does not know of yet.
#[derive(Debug, Default)]
pub struct Wakes {
    woken: Mutex<Vec<Arc<Task>>>,
    told: AtomicBool,
    bell: Notify,
}

/// One of them, as it is given to whoever will wake it.
#[derive(Debug)]
struct Task {
    waker: Waker,
    wakes: Arc<Wakes>,
    /// It is in the list already.
    is_woken: AtomicBool,
}

impl Wakes {
    /// Those of this thread, which is a loop.
    pub fn of_this_thread() -> Arc<Self> {
        MINE.with_borrow_mut(|mine| Arc::clone(mine.get_or_insert_default()))
    }

    fn is_mine(&self) -> bool {
        MINE.with_borrow(|mine| {
            mine.as_ref().is_some_and(|mine| std::ptr::eq(&raw const **mine, self))
        })
    }

    /// Wakes what others have woken, for as long as it is polled.
    pub async fn pass_on(&self) {
        loop {
            self.bell.notified().await;
            self.told.store(false, Release);
            let woken = std::mem::take(&mut *self.woken.lock());
            for task in woken {
                // Before it runs: what happens from now on wakes it again. What whoever left it at that had done before, it
                // sees.
                let _was = task.is_woken.swap(false, AcqRel);
                task.waker.wake_by_ref();
            }
        }
    }

    /// Runs a task of this loop; others who wake it tell the loop together.
    pub async fn together<F: Future>(self: Arc<Self>, task: F) -> F::Output {
        let mut task = pin!(task);
        let mut known: Option<(Waker, Waker)> = None;
        poll_fn(move |cx| {
            let fits = |(own, _): &(Waker, Waker)| own.will_wake(cx.waker());
            let (_, told) = match known.take().filter(fits) {
                Some(same) => known.insert(same),
                None => {
                    let waker = cx.waker().clone();
                    let wakes = Arc::clone(&self);
                    let told =
                        Task { waker: waker.clone(), wakes, is_woken: AtomicBool::new(false) };
                    known.insert((waker, Waker::from(Arc::new(told))))
                }
            };
            task.as_mut().poll(&mut Context::from_waker(told))
        })
        .await
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.wakes.is_mine() {
            return self.waker.wake_by_ref();
        }
        if self.is_woken.swap(true, AcqRel) {
            return;
        }
        self.wakes.woken.lock().push(Arc::clone(self));
        if !self.wakes.told.swap(true, AcqRel) {
            self.wakes.bell.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Duration;
    use tokio::sync::oneshot;

    #[test]
    fn tasks_that_another_thread_wakes_go_on_and_it_is_told_together() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        let wakes = Wakes::of_this_thread();
        let (begun, done) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        let all = async {
            let passing = Arc::clone(&wakes);
            let passing = tokio::task::spawn_local(async move { passing.pass_on().await });
            let mut senders = Vec::new();
            let mut tasks = Vec::new();
            for _ in 0..100 {
                let (sender, receiver) = oneshot::channel::<()>();
                senders.push(sender);
                let (begun, done) = (Rc::clone(&begun), Rc::clone(&done));
                let task = async move {
                    begun.set(begun.get() + 1);
                    receiver.await.unwrap();
                    done.set(done.get() + 1);
                };
                tasks.push(tokio::task::spawn_local(Arc::clone(&wakes).together(task)));
            }
            while begun.get() < 100 {
                tokio::task::yield_now().await;
            }
            // The loop stands still while all are woken.
            let other = std::thread::spawn(move || {
                senders.into_iter().for_each(|sender| sender.send(()).unwrap());
            });
            other.join().unwrap();
            assert_eq!(wakes.woken.lock().len(), 100);
            assert_eq!(done.get(), 0);
            for task in tasks {
                tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap();
            }
            passing.abort();
        };
        runtime.block_on(local.run_until(all));
        assert_eq!(done.get(), 100);
        assert!(wakes.woken.lock().is_empty());
    }
}
