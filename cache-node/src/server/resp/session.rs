//! The state of one connection that commands read and change.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use hypercache_core::resp::{Limits, Protocol};
use hypercache_core::store::StoreNumber;

use super::clients::Client;
use super::transaction::Transaction;
use crate::router::Caller;

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
    /// What MULTI and WATCH began.
    pub transaction: Transaction,
}

impl Session {
    /// A new connection's state.
    pub fn new(client: Arc<Client>, authenticated: bool) -> Self {
        Self {
            client,
            protocol: Protocol::Resp2,
            store: 0,
            authenticated,
            closing: false,
            limits: Limits { authenticated, ..Limits::default() },
            transaction: Transaction::default(),
        }
    }

    /// Whose commands its commands are.
    #[inline]
    pub fn caller(&self) -> Caller {
        Caller { store: self.store, protocol: self.protocol, order: self.client.id }
    }

    /// Chooses a protocol.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        self.client.protocol.store(if protocol == Protocol::Resp3 { 3 } else { 2 }, Relaxed);
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
    }
}
