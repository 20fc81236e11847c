//! The spans of one connection's requests: of few of them, so that nothing here is on the others' way.

use std::time::SystemTime;

use hypercache_core::cluster::{MemberId, View};
use hypercache_core::command::Spec;
use opentelemetry::Context;

use super::connection::Connection;
use crate::telemetry::trace;

/// The request that is next, and has spans.
pub(super) struct Traced {
    /// Its own span.
    pub request: Context,
    /// When it was tried.
    pub began: SystemTime,
    /// Whether it ran in this member's keyspace.
    pub executed: bool,
}

impl Connection {
    /// Begins the spans of the next command, unless it was tried before and has some.
    #[cold]
    pub(super) fn begin_spans(&mut self, spec: Option<&'static Spec>) {
        let began = SystemTime::now();
        let request = match self.traced.take() {
            Some(traced) => traced.request,
            None => {
                let store = self.session.store;
                let attributes = spec.map(|spec| trace::of_command(spec, store));
                self.shared.router.traces().request(None, attributes.unwrap_or_default())
            }
        };
        self.traced = Some(Traced { request, began, executed: false });
    }

    /// Tells of the command that ran, and ends its request's span, unless that waits for what it did.
    #[cold]
    pub(super) fn end_spans(&mut self, spec: Option<&'static Spec>, waits: bool, reply: &[u8]) {
        let Some(Traced { request, began, executed }) = self.traced.take() else { return };
        let span = match spec {
            Some(spec) if executed => {
                let attributes = trace::of_command(spec, self.session.store);
                self.shared.router.traces().executed(&request, began, attributes, reply)
            }
            _ => request.clone(),
        };
        match waits {
            true => self.awaited.trace(request, span),
            false => trace::end(&request, trace::error_of(reply)),
        }
    }

    /// The spans of the command that goes to another member, if it has some: its request's, and one below that.
    #[inline]
    pub(super) fn forward_spans(
        &mut self,
        view: &View,
        member: MemberId,
    ) -> Option<(Context, Context)> {
        let Traced { request, .. } = self.traced.take()?;
        let forward = self.shared.router.forwards(&request, view, member);
        Some((request, forward))
    }
}
