//! What clients asked for, and what became of it.

use std::fmt::Error;

use super::out::{Out, Spread};
use super::table;
use crate::server::stats::families::{Requests, bounds_seconds};
use crate::server::stats::{Fault, KINDS, StatsSnapshot};
use crate::telemetry::times::TimesCounts;

/// What of requests is told.
#[derive(Debug, Clone, Default)]
pub struct RequestSnapshot {
    /// What the server did since the start.
    pub server: StatsSnapshot,
    /// Requests by family and store, with the store's name.
    pub requests: Vec<(String, Requests)>,
    /// Errors, in the order of [`KINDS`].
    pub errors: [u64; KINDS.len()],
    /// HTTP requests without the right password.
    pub refused_http_logins: u64,
    /// RESP connections that may be open.
    pub max_connections: u64,
    /// How long other members took to answer what was forwarded.
    pub forwarded: TimesCounts,
    /// How long writes waited for their other owners.
    pub confirmed: TimesCounts,
}

/// Tells of connections and requests.
pub(super) fn encode(of: &RequestSnapshot, out: &mut Out<'_>) -> Result<(), Error> {
    let s = &of.server;
    for (metric, value) in [
        (&table::CONNECTED_CLIENTS, s.connected_clients),
        (&table::MAX_CONNECTIONS, of.max_connections),
        (&table::CONNECTIONS_RECEIVED, s.connections_received),
        (&table::REJECTED_CONNECTIONS, s.rejected_connections),
        (&table::NET_INPUT, s.net_input_bytes),
        (&table::NET_OUTPUT, s.net_output_bytes),
        (&table::PROTOCOL_ERRORS, s.protocol_errors),
        (&table::SLOW_SUBSCRIBERS_CLOSED, s.slow_subscribers_closed),
        (&table::PUBLISHED_DROPPED, s.published_dropped),
        (&table::ERROR_REPLIES, s.error_replies),
        (&table::FORWARDED_REQUESTS, s.forwarded_requests),
        (&table::FORWARD_ERRORS, s.forward_errors),
    ] {
        out.one(metric, value as f64)?;
    }
    let wrong_passwords = KINDS.iter().zip(of.errors).find(|((kind, _), _)| *kind == "WRONGPASS");
    let refused_over_resp = wrong_passwords.map_or(0, |(_, count)| count);
    let refused = [(["resp"], refused_over_resp), (["http"], of.refused_http_logins)];
    out.each(&table::REFUSED_LOGINS, refused.map(|(labels, n)| (labels, n as f64)))?;
    // A command that was never called would only be a zero among hundreds.
    let calls = s.calls_by_command.iter().filter(|(_, calls)| *calls > 0);
    out.each(&table::COMMANDS, calls.map(|(name, calls)| ([*name], *calls as f64)))?;
    let kinds = KINDS.iter().zip(of.errors);
    out.each(
        &table::ERRORS,
        kinds.map(|((kind, fault), count)| ([*kind, fault.as_str()], count as f64)),
    )?;
    let named = of.requests.iter();
    out.spreads(
        &table::REQUEST_DURATION,
        named.clone().map(|(store, requests)| {
            let buckets = bounds_seconds().zip(requests.counts).collect();
            let spread = Spread { sum: requests.seconds, buckets };
            ([requests.group.as_str(), store.as_str()], spread)
        }),
    )?;
    out.each(
        &table::REQUEST_ERRORS,
        named.flat_map(|(store, requests)| {
            Fault::ALL.into_iter().zip(requests.errors).map(|(fault, count)| {
                ([requests.group.as_str(), store.as_str(), fault.as_str()], count as f64)
            })
        }),
    )?;
    for (metric, times) in
        [(&table::FORWARD_DURATION, &of.forwarded), (&table::CONFIRM_DURATION, &of.confirmed)]
    {
        out.spreads(metric, [([], Spread::from(times))])?;
    }
    Ok(())
}
