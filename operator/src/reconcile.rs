//! One pass over one resource: see, ask, decide, act, tell.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hypercache_crds::{HyperCacheCluster, HyperCacheClusterStatus, Problem};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff;
use kube::runtime::controller::Action;
use kube::runtime::events::Recorder;
use kube::runtime::reflector::ObjectRef;
use kube::{Client, Resource, ResourceExt};
use tracing::Instrument;

use crate::admin::{self, ClusterAccess, DesiredState, Report, Target};
use crate::apply::{self, Applier, REQUEST_TIMEOUT};
use crate::events;
use crate::facts::{Facts, PodFacts, SetFacts};
use crate::names::{HTTP_PORT, Names};
use crate::observe::Stores;
use crate::plan::{self, Plan, Step};
use crate::status::{self, Seen};
use crate::telemetry::{Metrics, passes};

/// The members that are asked at most in one pass.
const MAX_ASKED: usize = 3;
/// How long a whole pass may take.
const PASS_TIMEOUT: Duration = Duration::from_secs(120);
/// When nothing is going on, the cluster is asked this often: its leader, ring and figures.
const SETTLED: Duration = Duration::from_secs(45);
/// When something is going on.
const IN_PROGRESS: Duration = Duration::from_secs(3);
/// When something waits for a person or for the cluster.
const BLOCKED: Duration = Duration::from_secs(15);
/// The first wait after a refusal; it doubles up to [`MAX_BACKOFF`].
const FIRST_BACKOFF: Duration = Duration::from_secs(5);
const MAX_BACKOFF: Duration = Duration::from_secs(120);
/// The most resources whose refusals are counted.
const MAX_COUNTED: usize = 16_384;

/// What every pass needs.
pub struct Context {
    /// The API server.
    pub client: Client,
    /// Carries steps out.
    pub applier: Applier,
    /// The way to members.
    pub access: Arc<dyn ClusterAccess>,
    /// What is there.
    pub stores: Stores,
    /// Tells people.
    pub recorder: Recorder,
    /// Counters.
    pub metrics: Metrics,
    /// Refusals in a row, by resource.
    pub refusals: Mutex<HashMap<ObjectRef<HyperCacheCluster>, u32>>,
}

/// Why a pass ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The status could not be written.
    #[error("the status is not written: {0}")]
    Status(#[source] apply::Error),
    /// The pass took too long.
    #[error("a pass took more than {} s", PASS_TIMEOUT.as_secs())]
    TooLong,
}

impl Error {
    /// Its word in metrics.
    fn kind(&self) -> &'static str {
        match self {
            Self::Status(_) => "status",
            Self::TooLong => "too_long",
        }
    }
}

/// Runs one pass, and says when the next is due if nothing happens.
///
/// # Errors
/// When the status cannot be written or the pass takes too long. All else is in the status.
pub async fn reconcile(
    cluster: Arc<HyperCacheCluster>,
    context: Arc<Context>,
) -> Result<Action, Error> {
    let span = tracing::info_span!(
        "reconcile",
        namespace = cluster.namespace(),
        cluster = cluster.name_any()
    );
    Box::pin(counted(&cluster, &context)).instrument(span).await
}

/// Runs one pass and counts it.
async fn counted(cluster: &HyperCacheCluster, context: &Context) -> Result<Action, Error> {
    let started = Instant::now();
    let _running = context.metrics.begin_pass();
    let outcome = tokio::time::timeout(PASS_TIMEOUT, Box::pin(pass(cluster, context)))
        .await
        .unwrap_or(Err(Error::TooLong));
    let result = match &outcome {
        Ok(Some(wait)) if *wait == SETTLED => "settled",
        Ok(_) => "in_progress",
        Err(_) => "error",
    };
    context.metrics.pass(result, started.elapsed().as_secs_f64());
    passes::say("hypercache.pass.result", result);
    if let Err(error) = &outcome {
        passes::fail(error.kind());
        context.metrics.pass_error(error.kind());
    }
    match outcome? {
        Some(wait) => Ok(Action::requeue(wait)),
        None => Ok(Action::await_change()),
    }
}

/// When to try again after a pass ended early.
pub fn retry(cluster: Arc<HyperCacheCluster>, error: &Error, context: Arc<Context>) -> Action {
    let wait = context.backoff(&cluster);
    tracing::warn!(
        action = "pass-ended-early",
        namespace = cluster.namespace(),
        cluster = cluster.name_any(),
        %error,
        wait_s = wait.as_secs(),
        "a pass ended early"
    );
    Action::requeue(wait)
}

async fn pass(cluster: &HyperCacheCluster, context: &Context) -> Result<Option<Duration>, Error> {
    if cluster.meta().deletion_timestamp.is_some() {
        // Kubernetes collects what it owns.
        return Ok(None);
    }
    let names = Names::new(cluster.name_any(), cluster.namespace().unwrap_or_default());
    let observed = context.stores.observe(&context.client, &names);
    let (mut facts, mut refused) = observed.instrument(tracing::info_span!("observe")).await;
    let asked = context.ask(&names, &facts).instrument(tracing::info_span!("ask"));
    let (mut report, mut cluster_error) = asked.await;
    let formed = report.as_ref().is_some_and(Report::formed)
        || cluster.status.as_ref().is_some_and(|status| status.cluster_id.is_some());
    let mut plan = plan::plan(cluster, &facts, report.as_ref(), formed);
    if !refused.is_empty() {
        // What cannot be seen might be overwritten.
        plan.steps.clear();
    }
    let carried = context.applier.carry_out(&names.namespace, &plan.steps, &facts);
    let done = carried.instrument(tracing::info_span!("carry_out")).await;
    refused.extend(done.refused.iter().cloned());
    if let Some(set) = &done.set {
        facts.set = Some(SetFacts::of(set));
    }
    if plan.propose {
        let proposed = context.propose(&names, &facts, &plan.desired);
        match proposed.instrument(tracing::info_span!("propose")).await {
            Ok(answer) => report = Some(answer),
            Err(error) => cluster_error = Some(error),
        }
    }
    let seen = Seen {
        facts: &facts,
        plan: &plan,
        refused: &refused,
        report: report.as_ref(),
        cluster_error: cluster_error.as_ref(),
    };
    let status = status::status(cluster, seen, &Time(jiff::Timestamp::now()));
    let before = cluster.status.clone().unwrap_or_default();
    if !status::same(&before, &status) {
        let written = context.applier.write_status(cluster, &status);
        let written = written.instrument(tracing::info_span!("write_status")).await;
        written.map_err(Error::Status)?;
    }
    let is_done = |step: &&Step| !done.refused.iter().any(|p| p.object == apply::object(step));
    context.tell(cluster, &before, &status, plan.steps.iter().filter(is_done)).await;
    Ok(Some(context.next(cluster, &plan, &refused, &status)))
}

impl Context {
    /// When the next pass is due if nothing happens.
    fn next(
        &self,
        cluster: &HyperCacheCluster,
        plan: &Plan,
        refused: &[Problem],
        status: &HyperCacheClusterStatus,
    ) -> Duration {
        if !refused.is_empty() || !plan.refused.is_empty() {
            return self.backoff(cluster);
        }
        self.refusals
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&ObjectRef::from_obj(cluster));
        let is = |type_: &str, wanted: &str| {
            status.conditions.iter().any(|c| c.type_ == type_ && c.status == wanted)
        };
        if is("Progressing", "True") {
            IN_PROGRESS
        } else if is("Ready", "True") && is("MembersApplied", "True") && is("StoresApplied", "True")
        {
            SETTLED
        } else {
            BLOCKED
        }
    }

    /// Tells what changed as events. They are for people: what cannot be told is only logged.
    async fn tell(
        &self,
        cluster: &HyperCacheCluster,
        before: &HyperCacheClusterStatus,
        after: &HyperCacheClusterStatus,
        done: impl Iterator<Item = &Step>,
    ) {
        let about = cluster.object_ref(&());
        for event in events::events(before, after, done) {
            let published = self.recorder.publish(&event, &about);
            let failed = match tokio::time::timeout(REQUEST_TIMEOUT, published).await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer in {} s", REQUEST_TIMEOUT.as_secs()),
            };
            tracing::warn!(
                action = "event-not-told",
                namespace = cluster.namespace(),
                cluster = cluster.name_any(),
                reason = event.reason,
                error = failed,
                "an event is not told"
            );
            return;
        }
    }

    fn backoff(&self, cluster: &HyperCacheCluster) -> Duration {
        let mut refusals = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if refusals.len() >= MAX_COUNTED {
            refusals.clear();
        }
        let count = refusals.entry(ObjectRef::from_obj(cluster)).or_default();
        let wait = FIRST_BACKOFF.saturating_mul(1 << (*count).min(10)).min(MAX_BACKOFF);
        *count = count.saturating_add(1);
        wait
    }

    fn targets(names: &Names, facts: &Facts) -> Vec<Target> {
        let mut pods: Vec<&PodFacts> =
            facts.pods.iter().filter(|pod| pod.running && !pod.terminating).collect();
        pods.sort_by_key(|pod| !pod.ready);
        pods.into_iter()
            .filter_map(|pod| {
                Some(Target {
                    namespace: names.namespace.clone(),
                    pod: pod.name.clone(),
                    address: pod.address?,
                    port: HTTP_PORT,
                })
            })
            .take(MAX_ASKED)
            .collect()
    }

    /// Asks members, ready ones first, until one speaks for a quorum.
    async fn ask(&self, names: &Names, facts: &Facts) -> (Option<Report>, Option<admin::Error>) {
        let (mut best, mut error) = (None::<Report>, None);
        for target in Self::targets(names, facts) {
            let answer = self.access.report(&target).await;
            self.count("report", &answer);
            match answer {
                Ok(report) if report.quorum => return (Some(report), None),
                Ok(report) if best.as_ref().is_none_or(|best| !best.formed()) => {
                    best = Some(report);
                }
                Ok(_) => {}
                Err(failed) => error = Some(failed),
            }
        }
        let error = error.filter(|_| best.is_none());
        (best, error)
    }

    /// Proposes the desired state by way of a member that can be reached.
    async fn propose(
        &self,
        names: &Names,
        facts: &Facts,
        desired: &DesiredState,
    ) -> Result<Report, admin::Error> {
        let mut last = admin::Error::Unreachable("no member runs".to_owned());
        for target in Self::targets(names, facts) {
            let answer = self.access.propose(&target, desired).await;
            self.count("propose", &answer);
            match answer {
                Ok(report) => {
                    tracing::info!(
                        action = "desired-state-taken",
                        namespace = names.namespace,
                        cluster = names.instance,
                        generation = desired.generation,
                        "the cluster has the desired state"
                    );
                    return Ok(report);
                }
                Err(error @ admin::Error::Unreachable(_)) => last = error,
                Err(error) => {
                    tracing::warn!(
                        action = "desired-state-refused",
                        namespace = names.namespace,
                        cluster = names.instance,
                        %error,
                        "the cluster does not take the desired state"
                    );
                    return Err(error);
                }
            }
        }
        Err(last)
    }

    fn count(&self, action: &str, answer: &Result<Report, admin::Error>) {
        let result = match answer {
            Ok(_) => "ok",
            Err(admin::Error::Unreachable(_)) => "unreachable",
            Err(admin::Error::NoQuorum(_)) => "no_quorum",
            Err(admin::Error::Invalid { .. }) => "invalid",
            Err(admin::Error::Refused { .. }) => "refused",
        };
        self.metrics.cluster_request(action, result);
    }
}

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
