//! Commands over the whole keyspace, step by step, so that those that come meanwhile do not wait.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use hypercache_core::command::{self, Run, RunWalk, Walk};
use hypercache_core::replica::{Awaited, awaits};
use hypercache_core::resp::Writer;
use tokio::time::Instant;

use super::forwarded::Held;
use super::wire::{self, Status};
use super::{Caller, REPLICAS_WAIT, Router, lacks_replicas};
use crate::clock::now_ms;
use crate::peer::Answer;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(20);

impl Router {
    /// Runs such a command over this member's slots and appends its reply to `out`; between its
    /// steps everything else of this thread goes on.
    pub(super) async fn walk(
        &self,
        deadline: Instant,
        run: RunWalk,
        caller: Caller,
        args: &[&[u8]],
        out: &mut Vec<u8>,
    ) {
        let keyspace = &self.0.keyspace;
        let start = out.len();
        let mut walk = Walk::default();
        let mut awaited = Awaited::default();
        let lease = self.lease();
        let replicas_by = deadline.min(Instant::now() + REPLICAS_WAIT);
        loop {
            let mut writer = Writer::new(out, caller.protocol);
            let mut ended =
                keyspace.walk(run, caller.store, args, now_ms(), &mut walk, &mut writer);
            awaited.merge(awaits::take().unwrap_or_default());
            // It is refused before anything goes; owners that were away may be in sync again soon.
            if ended && lacks_replicas(&out[start..]) && Instant::now() < replicas_by {
                out.truncate(start);
                (walk, ended) = (Walk::default(), false);
                tokio::time::sleep(PAUSE).await;
            }
            if ended {
                if let Err(text) = self.until_met(lease, &awaited).await {
                    out.truncate(start);
                    Writer::new(out, caller.protocol).error(&text);
                }
                return;
            }
            if Instant::now() >= deadline {
                out.truncate(start);
                let text = "ERR the whole keyspace could not be walked in time";
                return Writer::new(out, caller.protocol).error(text);
            }
            tokio::task::yield_now().await;
        }
    }

    /// The answer to a request of another member that is one such command, to be given later;
    /// `None` if it is another request.
    pub(super) fn walk_for_another(&self, request: &Bytes, held: &Held) -> Option<Answer> {
        let (command, next) = wire::command_at(request, 0).ok()?;
        let Ok(command::Spec { run: Run::Walk(run), .. }) = command::lookup(&command.args) else {
            return None;
        };
        let serving =
            self.0.cluster.view().quorum && !held(&command.args) && !self.0.disk.is_loading();
        if next != request.len() || !serving {
            return None;
        }
        let (router, request, run) = (self.clone(), request.clone(), *run);
        Some(Answer::Later(
            async move {
                let (command, _) = wire::command_at(&request, 0).map_err(|e| e.to_string())?;
                let (store, protocol) = (command.store, command.protocol);
                let caller = Caller { store, protocol, order: 0, client: 0 };
                let mut reply = Vec::new();
                router.walk(router.deadline(), run, caller, &command.args, &mut reply).await;
                let mut answer = Vec::with_capacity(reply.len() + 16);
                wire::put_answer(&mut answer, |out| {
                    out.extend_from_slice(&reply);
                    Status::Done
                });
                Ok(answer.into())
            }
            .boxed(),
        ))
    }
}
