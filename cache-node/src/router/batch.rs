//! The replies of one pipeline, some of which come from other members.
//!
//! Commands that run here write their replies at once. Those that run elsewhere leave a hole and
//! travel together, one request per member; when the answers are in, the holes are filled, so
//! that the client reads its replies in the order of its commands.

use bytes::Bytes;
use futures::future::join_all;
use hypercache_core::cluster::{MemberId, View, slot_of};
use hypercache_core::command::{self, Spec};
use hypercache_core::resp::{Protocol, Writer};
use opentelemetry::Context;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::wire::{self, Status};
use super::{Caller, ForwardError, Router, lost, traced};
use crate::server::stats::ticks;
use crate::telemetry::trace;
use hypercache_core::store::StoreNumber;

/// Where a reply from another member belongs.
struct Hole {
    /// The offset in the replies that are there already.
    at: usize,
    /// The index of the member's request.
    remote: usize,
    /// Where the command starts in that request.
    offset: usize,
    spec: &'static Spec,
    /// The span of its request, if that has some: the command before it in the request says so.
    span: Option<Context>,
}

/// A command whose reply came from another member.
#[derive(Debug)]
pub struct Came<'a> {
    /// The command.
    pub spec: &'static Spec,
    /// The store that its client had selected.
    pub store: StoreNumber,
    /// How long it took, in ticks.
    pub took: u64,
    /// The span of its request, if that has some.
    pub span: Option<&'a Context>,
}

struct Remote {
    member: MemberId,
    request: Vec<u8>,
    commands: u64,
    /// The spans that end with its answer.
    spans: Vec<Context>,
}

/// Commands of one pipeline that travel to other members.
#[derive(Default)]
pub struct Batch {
    holes: Vec<Hole>,
    remotes: SmallVec<[Remote; 4]>,
    bytes: usize,
    order: u64,
    client: u64,
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

    /// Adds a command for `member`, whose reply belongs at offset `at` of the replies. The span of its request, if
    /// that has some, ends with its reply, and has one of its own below it.
    pub fn push(
        &mut self,
        (member, at): (MemberId, usize),
        spec: &'static Spec,
        caller: Caller,
        args: &[&[u8]],
        spans: Option<(Context, Context)>,
    ) {
        (self.order, self.client) = (caller.order, caller.client);
        let remote = match self.remotes.iter().position(|r| r.member == member) {
            Some(remote) => remote,
            None => {
                self.remotes.push(Remote {
                    member,
                    request: Vec::new(),
                    commands: 0,
                    spans: Vec::new(),
                });
                self.remotes.len() - 1
            }
        };
        let to = &mut self.remotes[remote];
        let before = to.request.len();
        let span = spans.map(|(request, forward)| {
            traced::put_parent(&mut to.request, &forward);
            to.spans.push(forward);
            request
        });
        let offset = to.request.len();
        wire::put_command(&mut to.request, caller.store, caller.protocol, args);
        to.commands += 1;
        self.bytes += to.request.len() - before;
        self.holes.push(Hole { at, remote, offset, spec, span });
    }

    /// Sends what was collected and waits for the answers, within the request's deadline.
    pub async fn send<'a>(self, router: &'a Router, view: &'a View) -> Filling<'a> {
        let (deadline, began) = (router.deadline(), ticks::now());
        let order = self.order;
        let asked = join_all(self.remotes.into_iter().map(async |remote| {
            let Remote { member, request, commands, spans } = remote;
            let request = Bytes::from(request);
            let sent = router.forward(view, member, order, request.clone(), commands, deadline);
            let answer = sent.await;
            let error = answer.as_ref().err().map(ForwardError::word);
            spans.iter().for_each(|span| trace::end(span, error));
            Asked { member, answer, request, next: 0 }
        }))
        .await;
        let holes = self.holes;
        Filling {
            router,
            view,
            order,
            client: self.client,
            began,
            deadline,
            holes,
            hole: 0,
            asked,
            here: Vec::new(),
            copied: 0,
        }
    }
}

/// What a member was asked, and how far its answer is read.
struct Asked {
    member: MemberId,
    request: Bytes,
    answer: Result<Bytes, ForwardError>,
    /// The offset in the answer of what is not read yet.
    next: usize,
}

impl Asked {
    /// Whether the answer ended before the request's commands did.
    fn has_ended(&self) -> bool {
        self.answer.as_ref().is_ok_and(|answer| self.next > 0 && self.next == answer.len())
    }

    /// Passes by the answer to what said whose part the next command is.
    fn pass(&mut self) {
        if !self.has_ended()
            && let Ok(answer) = &self.answer
            && let Ok((_, _, next)) = wire::answer_at(answer, self.next)
        {
            self.next = next;
        }
    }
}

/// Replies from here and from other members on their way into one row.
pub struct Filling<'a> {
    router: &'a Router,
    view: &'a View,
    order: u64,
    client: u64,
    /// When the requests were sent, in ticks.
    began: u64,
    /// Moves on only when something came: one request's time is all that silence may take.
    deadline: Instant,
    holes: Vec<Hole>,
    /// The first hole that is not filled.
    hole: usize,
    asked: Vec<Asked>,
    /// The replies that this member wrote.
    here: Vec<u8>,
    /// How many bytes of them are taken.
    copied: usize,
}

impl Filling<'_> {
    /// Where the replies from other members belong in those of the commands that ran here.
    pub fn places(&mut self) -> impl Iterator<Item = &mut usize> {
        self.holes.iter_mut().map(|hole| &mut hole.at)
    }

    /// Says what the commands that ran here replied.
    pub fn between(&mut self, here: Vec<u8>) {
        self.here = here;
    }

    /// Appends replies to `out`, up to some more than `enough` bytes. `false`: these are the last.
    /// Each reply that came from another member is shown to `came`, with its command and that one's arguments.
    pub async fn fill(
        &mut self,
        out: &mut Vec<u8>,
        enough: usize,
        came: impl Fn(Came<'_>, &[&[u8]], &[u8]),
    ) -> bool {
        if self.hole > 0 {
            // The client took what came before, however slowly.
            self.deadline = self.router.deadline();
        }
        while let Some(hole) = self.holes.get(self.hole) {
            if out.len() >= enough {
                return true;
            }
            out.extend_from_slice(&self.here[self.copied..hole.at]);
            self.copied = hole.at;
            self.hole += 1;
            let start = out.len();
            let asked = &mut self.asked[hole.remote];
            if hole.span.is_some() {
                asked.pass();
            }
            let Ok((command, _)) = wire::command_at(&asked.request, hole.offset) else {
                // What `push` wrote reads back; and if not, the client is still owed a reply.
                Writer::new(out, Protocol::Resp2).error("ERR the forwarded command was lost");
                continue;
            };
            // Long answers come in parts: the first ended before this command.
            if asked.has_ended() {
                self.deadline = self.router.deadline();
                let rest = asked.request.slice(hole.offset..);
                asked.answer = self
                    .router
                    .forward(self.view, asked.member, self.order, rest, 0, self.deadline)
                    .await;
                asked.next = 0;
            }
            let again = match &asked.answer {
                Ok(bytes) => match wire::answer_at(bytes, asked.next) {
                    Ok((status, reply, end)) => {
                        asked.next = end;
                        // Of what did not run, it is only why.
                        if status == Status::Done {
                            out.extend_from_slice(reply);
                            let slot = || hole.spec.first_key(&command.args).map(slot_of);
                            self.router.heard().note(self.view, asked.member, slot);
                        }
                        status != Status::Done
                    }
                    Err(malformed) => {
                        Writer::new(out, command.protocol).error(&format!("ERR {malformed}"));
                        false
                    }
                },
                Err(error)
                    if error.never_sent() || hole.spec.flags.contains(command::Flags::READONLY) =>
                {
                    true
                }
                Err(error) => {
                    Writer::new(out, command.protocol).error(&lost(hole.spec, error));
                    false
                }
            };
            // One after the other, so that a client's commands keep their order.
            if again {
                let wire::Command { store, protocol, .. } = command;
                let (order, client) = (self.order, self.client);
                let caller = Caller { store, protocol, order, client };
                let run =
                    self.router.run_until(self.deadline, hole.spec, caller, &command.args, out);
                trace::within(hole.span.as_ref(), run).await;
            }
            if let Some(span) = &hole.span {
                trace::end(span, trace::error_of(&out[start..]));
            }
            let took = ticks::now().saturating_sub(self.began);
            let span = hole.span.as_ref();
            let it = Came { spec: hole.spec, store: command.store, took, span };
            came(it, &command.args, &out[start..]);
        }
        out.extend_from_slice(&self.here[self.copied..]);
        self.copied = self.here.len();
        false
    }
}
