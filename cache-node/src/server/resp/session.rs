//! The state of one connection that commands read and change.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use hypercache_core::cluster::slot_of;
use hypercache_core::command::{Known, Spec};
use hypercache_core::keyspace::Keyspace;
use hypercache_core::resp::{Limits, Protocol};
use hypercache_core::store::StoreNumber;

use super::clients::Client;
use super::transaction::Transaction;
use crate::pubsub::Subscriber;
use crate::replica::Written;
use crate::router::Caller;

/// Whether a connection wants replies, as CLIENT REPLY says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replies {
    /// All.
    Wanted,
    /// None.
    Unwanted,
    /// Not to CLIENT REPLY SKIP, which ran just now, nor to the command after it.
    SkipNext,
    /// Not to this command.
    SkipThis,
}

/// What a connection has chosen: protocol, store, identity.
#[derive(Debug)]
pub struct Session {
    /// What others see of it.
    pub client: Arc<Client>,
    /// How replies are encoded.
    pub protocol: Protocol,
    /// The store that commands run in.
    pub store: StoreNumber,
    /// Whether it may run commands that need authentication.
    pub authenticated: bool,
    /// End the connection when the replies so far are written.
    pub closing: bool,
    /// What the parser accepts from it.
    pub limits: Limits,
    /// It is sent to the members of its keys, and nothing is forwarded to these for it where it can be sent.
    pub redirects: bool,
    /// What MULTI and WATCH began.
    pub transaction: Transaction,
    /// Whether it wants replies.
    pub replies: Replies,
    /// The command that ran just now answered with notices of subscriptions, which come in any case.
    pub notices: bool,
    /// CLIENT NO-TOUCH: its commands are no use of their keys.
    pub no_touch: bool,
    /// READONLY: reads may be answered from a copy that is no older than so many milliseconds.
    pub max_stale_ms: Option<u64>,
    /// Where it has written: what WAIT and WAITAOF are about.
    pub written: Written,
    /// Of its commands, those that other members answer go to them one after the other.
    order: u64,
    /// What it listens to, while it does.
    pub subscriber: Option<Box<Subscriber>>,
}

impl Session {
    /// A new connection's state.
    pub fn new(client: Arc<Client>, redirects: bool, authenticated: bool) -> Self {
        Self {
            order: crate::loops::to_here(client.id),
            redirects,
            client,
            protocol: Protocol::Resp2,
            store: 0,
            authenticated,
            closing: false,
            limits: Limits { authenticated, ..Limits::default() },
            transaction: Transaction::default(),
            replies: Replies::Wanted,
            notices: false,
            no_touch: false,
            max_stale_ms: None,
            written: Written::default(),
            subscriber: None,
        }
    }

    /// After a command whose reply begins at `at` of `out`: takes it back if it is not wanted.
    pub fn mute(&mut self, at: usize, out: &mut Vec<u8>) {
        let notices = std::mem::take(&mut self.notices);
        self.replies = match self.replies {
            Replies::Wanted => return,
            Replies::Unwanted => Replies::Unwanted,
            Replies::SkipNext => Replies::SkipThis,
            Replies::SkipThis => Replies::Wanted,
        };
        if !notices {
            out.truncate(at);
        }
    }

    /// It is about to write: WAIT may be asked about it later.
    #[inline]
    pub fn writes(&mut self, keyspace: &Keyspace, spec: &Spec, args: &[&[u8]], known: Known<'_>) {
        let (Self { written, store, .. }, losses) = (self, keyspace.feed().losses());
        if let [hashed] = known.hashed {
            let store = keyspace.store_asked(*store, || spec.first_key(args));
            return written.note(hashed.slot, store, losses);
        }
        let keys = spec.keys(args);
        if keys.is_empty() {
            written.note_anywhere(*store, losses);
        }
        for key in &keys {
            written.note(slot_of(key), keyspace.store_asked(*store, || Some(key)), losses);
        }
    }

    /// Whose commands its commands are.
    #[inline]
    pub fn caller(&self) -> Caller {
        let Self { store, protocol, order, .. } = *self;
        Caller { store, protocol, order, client: self.client.id }
    }

    /// Whether it may only subscribe and the like: RESP2 cannot tell replies from messages.
    #[inline]
    pub fn only_subscribes(&self) -> bool {
        self.subscriber.is_some() && self.protocol == Protocol::Resp2
    }

    /// After a command whose reply begins at `at` of `out`.
    #[inline]
    pub fn settle(&mut self, at: usize, out: &mut Vec<u8>) {
        // Nothing is kept for a connection that listens to nothing.
        self.subscriber.take_if(|subscriber| !subscriber.settle(at, out));
    }

    /// Chooses a protocol.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        self.client.protocol.store(if protocol == Protocol::Resp3 { 3 } else { 2 }, Relaxed);
    }

    /// Says whether commands are no use of their keys.
    pub fn set_no_touch(&mut self, on: bool) {
        self.no_touch = on;
        self.client.no_touch.store(on, Relaxed);
    }

    /// Says how old a copy may be that reads are answered from; `None`: none are.
    pub fn set_max_stale(&mut self, max_stale_ms: Option<u64>) {
        self.max_stale_ms = max_stale_ms;
        self.client.reads_replicas.store(max_stale_ms.is_some(), Relaxed);
    }

    /// Chooses a store.
    pub fn set_store(&mut self, store: StoreNumber) {
        self.store = store;
        self.client.store.store(store, Relaxed);
    }

    /// Notes that the client has (or has no longer) shown who it is.
    pub fn set_authenticated(&mut self, authenticated: bool) {
        self.authenticated = authenticated;
        self.limits.authenticated = authenticated;
        self.client.authenticated.store(authenticated, Relaxed);
    }

    /// Back to a new connection's state, as `RESET` does.
    pub fn reset(&mut self, authenticated: bool) {
        self.set_protocol(Protocol::Resp2);
        self.set_store(0);
        self.set_authenticated(authenticated);
        self.client.labels.lock().name.clear();
        self.client.no_evict.store(false, Relaxed);
        self.set_max_stale(None);
        self.set_no_touch(false);
        self.replies = Replies::Wanted;
        self.subscriber = None;
    }
}
