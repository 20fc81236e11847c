//! The replies of one pipeline, some of which come from other members.
//!
//! Commands that run here write their replies at once. Those that run elsewhere leave a hole and
//! travel together, one request per member; when the answers are in, the holes are filled, so
//! that the client reads its replies in the order of its commands.

use bytes::Bytes;
use futures::future::join_all;
use hypercache_core::cluster::MemberId;
use hypercache_core::command::{self, Spec};
use hypercache_core::resp::{Protocol, Writer};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::wire::{self, Status};
use super::{Caller, Router, lost};
use hypercache_core::cluster::View;

/// Where a reply from another member belongs.
struct Hole {
    /// The offset in the replies that are there already.
    at: usize,
    /// The index of the member's request.
    remote: usize,
    /// Where the command starts in that request.
    offset: usize,
    spec: &'static Spec,
}

struct Remote {
    member: MemberId,
    request: Vec<u8>,
    commands: u64,
}

/// Commands of one pipeline that travel to other members.
#[derive(Default)]
pub struct Batch {
    holes: Vec<Hole>,
    remotes: SmallVec<[Remote; 4]>,
    bytes: usize,
    order: u64,
}

impl Batch {
    /// Whether no command is on its way.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.holes.is_empty()
    }

    /// The bytes of all requests, so that the caller can bound them.
    #[inline]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a command for `member`, whose reply belongs at offset `at` of the replies.
    pub fn push(
        &mut self,
        member: MemberId,
        at: usize,
        spec: &'static Spec,
        caller: Caller,
        args: &[&[u8]],
    ) {
        self.order = caller.order;
        let remote = match self.remotes.iter().position(|r| r.member == member) {
            Some(remote) => remote,
            None => {
                self.remotes.push(Remote { member, request: Vec::new(), commands: 0 });
                self.remotes.len() - 1
            }
        };
        let to = &mut self.remotes[remote];
        let offset = to.request.len();
        wire::put_command(&mut to.request, caller.store, caller.protocol, args);
        to.commands += 1;
        self.bytes += to.request.len() - offset;
        self.holes.push(Hole { at, remote, offset, spec });
    }

    /// Sends what was collected, waits for the answers within the request's deadline, and puts
    /// them at their places in `out`.
    pub async fn fill(self, router: &Router, view: &View, out: &mut Vec<u8>) {
        if self.holes.is_empty() {
            return;
        }
        let deadline = Instant::now() + router.0.request_timeout;
        let requests: SmallVec<[(MemberId, u64, Bytes); 4]> =
            self.remotes.into_iter().map(|r| (r.member, r.commands, r.request.into())).collect();
        let answers = join_all(requests.iter().map(|(member, commands, request)| {
            router.forward(view, *member, self.order, request.clone(), *commands, deadline)
        }))
        .await;
        let mut next = vec![0; answers.len()];
        let mut whole =
            Vec::with_capacity(out.len() + answers.iter().flatten().map(Bytes::len).sum::<usize>());
        let mut copied = 0;
        for hole in &self.holes {
            whole.extend_from_slice(&out[copied..hole.at]);
            copied = hole.at;
            let Ok((command, _)) = wire::command_at(&requests[hole.remote].2, hole.offset) else {
                // What `push` wrote reads back; and if not, the client is still owed a reply.
                Writer::new(&mut whole, Protocol::Resp2)
                    .error("ERR the forwarded command was lost");
                continue;
            };
            let again = match &answers[hole.remote] {
                Ok(bytes) => match wire::answer_at(bytes, next[hole.remote]) {
                    Ok((status, reply, end)) => {
                        next[hole.remote] = end;
                        whole.extend_from_slice(reply);
                        status == Status::NotServing
                    }
                    Err(malformed) => {
                        let text = format!("ERR {malformed}");
                        Writer::new(&mut whole, command.protocol).error(&text);
                        false
                    }
                },
                Err(error)
                    if error.never_sent() || hole.spec.flags.contains(command::Flags::READONLY) =>
                {
                    true
                }
                Err(error) => {
                    Writer::new(&mut whole, command.protocol).error(&lost(hole.spec, error));
                    false
                }
            };
            // One after the other, so that a client's commands keep their order.
            if again {
                let wire::Command { store, protocol, .. } = command;
                let caller = Caller { store, protocol, order: self.order };
                router.run_until(deadline, hole.spec, caller, &command.args, &mut whole).await;
            }
        }
        whole.extend_from_slice(&out[copied..]);
        *out = whole;
    }
}
