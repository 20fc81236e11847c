//! What is counted of a command that has run: its time, its reply, and whether either is worth a note.

use hypercache_core::command::Spec;
use hypercache_core::store::StoreNumber;
use opentelemetry::Context;

use super::Loop;
use super::clients::Client;
use crate::server::stats::{Count, errors, watch};

/// A command that has its reply, for the accounts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Served<'a> {
    pub spec: &'static Spec,
    /// The store that its client had selected.
    pub store: StoreNumber,
    pub args: &'a [&'a [u8]],
    /// In ticks, until its reply stood.
    pub took: u64,
    /// The span of its request, if that has some.
    pub span: Option<&'a Context>,
}

/// Accounts for a command that did not run, if it is known, and for its error; empty: the connection ends without one.
#[cold]
pub(super) fn rejected(shared: &Loop, spec: Option<&'static Spec>, reply: &[u8]) {
    let cell = shared.cell();
    cell.add(Count::ErrorReplies, 1);
    if let Some(spec) = spec {
        cell.rejected(spec);
    }
    if !reply.is_empty() {
        shared.stats.errors.add(reply);
    }
}

/// Accounts for a command's time, and for its reply.
#[inline]
pub(super) fn account(shared: &Loop, client: &Client, request: Served<'_>, reply: &[u8]) {
    took_so_long(shared, client, request.spec, request.args, request.took);
    answered(shared, client, request, reply);
}

/// Accounts for a command's time, in ticks.
#[inline]
pub(super) fn took_so_long(
    shared: &Loop,
    client: &Client,
    spec: &'static Spec,
    args: &[&[u8]],
    took: u64,
) {
    let (stats, cell) = (&shared.stats, shared.cell());
    cell.ran(spec, took, stats.watch.keeps_spread());
    if spec.is_script() {
        client.add_commands(watch::take_inner_calls());
    }
    if stats.watch.is_slow(took) {
        stats.watch.note(spec, args, took, || client.whose());
    }
}

/// Accounts for a command's reply.
#[inline]
pub(super) fn answered(shared: &Loop, client: &Client, request: Served<'_>, reply: &[u8]) {
    let (stats, cell) = (&shared.stats, shared.cell());
    let Served { spec, store, args, took, span } = request;
    let of = |store| shared.keyspace().store_asked(store, || spec.first_key(args));
    let store = stats.keeps_request_metrics().then(|| of(store));
    if let Some(store) = store {
        cell.served(spec, store, took);
        if let Some(trace) = shared.router.traces().exemplar(span) {
            cell.remember(spec, store, took, trace);
        }
    }
    if reply.first() == Some(&b'-') {
        cell.failed(spec, reply);
        cell.add(Count::ErrorReplies, 1);
        // Only the first word: what follows may be of a key or a value.
        tracing::debug!(
            action = "command-failed",
            command = spec.name,
            code = errors::kind(reply),
            client = client.id,
            source = %client.addr,
            outcome = "failure",
            "a command was answered with an error"
        );
        let fault = stats.errors.add(reply);
        if let Some(store) = store {
            cell.erred(spec, store, fault);
        }
    }
    if stats.watch.may_be_large(args, reply.len()) {
        stats.watch.note_large(spec, args, reply.len(), || client.whose());
    }
}
