//! The process: `Options → build() → run()`.
//!
//! One operator runs at a time (a Deployment of one replica that is recreated, not rolled).
//! Should two ever run for a while, as when a node is lost from sight, they do no harm: both
//! apply the same objects under one field manager, the cluster takes the same proposal twice
//! without a change, and pods go only after the cluster's own word. So there is no lease to lose.

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, stream};
use hypercache_crds::HyperCacheCluster;
use hypercache_trace::{Push, Sent};
use k8s_openapi::NamespaceResourceScope;
use kube::client::ClientBuilder;
use kube::runtime::controller::{Config as ControllerConfig, ReconcileRequest, applier};
use kube::runtime::events::{Recorder, Reporter as EventReporter};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use kube::{Api, Client, Config, Resource};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use crate::admin::{ClusterAccess, Direct, ThroughApiServer};
use crate::apply::Applier;
use crate::names::{MANAGED_SELECTOR, MANAGER};
use crate::observe::Stores;
use crate::options::{Options, Reach};
use crate::reconcile::{Context, reconcile, retry};
use crate::telemetry::{self, CountCalls, Metrics};
use crate::watch::{self as watches, Reporter};

/// How long a member may take to answer.
const MEMBER_TIMEOUT: Duration = Duration::from_secs(3);
/// How long passes may take to end when the operator stops.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// Resources that wait for a pass; watches wait when it is full.
const QUEUE: usize = 1024;
/// Changes that come close together are one pass.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Why the operator cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no way to the API server.
    #[error("the API server: {0}")]
    Kube(#[from] kube::Error),
    /// There is no configuration for the way to the API server.
    #[error("the API server: {0}")]
    Config(#[from] kube::config::InferConfigError),
    /// There is no HTTP client.
    #[error("the way to members: {0}")]
    Http(#[from] reqwest::Error),
    /// The endpoint of metrics is none.
    #[error("--otlp-metrics-endpoint: {0}")]
    Push(#[from] hypercache_trace::Error),
    /// The address of the metrics is taken.
    #[error("--listen {0}: {1}")]
    Listen(std::net::SocketAddr, std::io::Error),
    /// A part ended that should not.
    #[error("{0} ended")]
    Ended(&'static str),
}

/// An operator that is ready to run.
pub struct Operator {
    options: Options,
    client: Client,
    access: Arc<dyn ClusterAccess>,
    metrics: Metrics,
    push: Option<Push>,
}

impl Options {
    /// Makes the operator; `sent` knows what became of its spans.
    ///
    /// # Errors
    /// When the way to the API server is not configured, or metrics are to go where nothing can be.
    pub async fn build(self, sent: Sent) -> Result<Operator, Error> {
        let push = telemetry::push(&self)?;
        let metrics = Metrics::new(sent, push.as_ref().map(Push::sent).unwrap_or_default());
        let counted = CountCalls(metrics.clone());
        let client = ClientBuilder::try_from(Config::infer().await?)?.with_layer(&counted).build();
        let access: Arc<dyn ClusterAccess> = match self.reach {
            Reach::Pods => Arc::new(Direct::new(MEMBER_TIMEOUT)?),
            Reach::ApiServer => Arc::new(ThroughApiServer::new(client.clone(), MEMBER_TIMEOUT)),
        };
        Ok(Operator { options: self, client, access, metrics, push })
    }
}

impl Operator {
    /// Runs until `stop` resolves, then ends the passes that run.
    ///
    /// # Errors
    /// When the metrics' address is taken, or a part ends that should not.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let (stopping, stopped) = watch::channel(false);
        let mut parts = JoinSet::new();
        let (address, metrics, mut until) =
            (self.options.listen, self.metrics.clone(), stopped.clone());
        parts.spawn(async move {
            let ended = telemetry::serve(address, metrics, async move {
                let _ = until.wait_for(|stop| *stop).await;
            });
            ended.await.map_err(|error| Error::Listen(address, error))
        });
        if let Some(push) = self.push.take() {
            let (metrics, mut until) = (self.metrics.clone(), stopped.clone());
            parts.spawn(async move {
                let told = async move {
                    let _ = until.wait_for(|stop| *stop).await;
                };
                push.run(move || metrics.text().ok(), told).await;
                Ok(())
            });
        }
        let scopes: Vec<Option<String>> = match self.options.namespaces.as_slice() {
            [] => vec![None],
            some => some.iter().filter(|n| !n.is_empty()).cloned().map(Some).collect(),
        };
        let scopes = if scopes.is_empty() { vec![None] } else { scopes };
        let (ready_sender, mut ready) = mpsc::channel(scopes.len().max(1));
        let mut waiting = scopes.len();
        for scope in scopes {
            let scope = Scope { namespace: scope, operator: self.parts(), stop: stopped.clone() };
            let ready = ready_sender.clone();
            parts.spawn(async move {
                scope.run(ready).await;
                Ok(())
            });
        }
        tracing::info!(
            action = "operator-runs",
            namespaces = ?self.options.namespaces,
            "the operator runs"
        );
        let mut stop = std::pin::pin!(stop);
        let outcome = loop {
            tokio::select! {
                () = &mut stop => break Ok(()),
                Some(()) = ready.recv() => {
                    waiting = waiting.saturating_sub(1);
                    self.metrics.set_ready(waiting == 0);
                }
                Some(ended) = parts.join_next() => break match ended {
                    Ok(Err(error)) => Err(error),
                    _ => Err(Error::Ended("a part of the operator")),
                },
            }
        };
        self.metrics.set_ready(false);
        tracing::info!(action = "operator-stops", "the operator stops");
        let _ = stopping.send(true);
        let all = async { while parts.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_TIMEOUT, all).await.is_err() {
            tracing::warn!(action = "stop-not-in-time", "passes did not end in time");
        }
        outcome
    }

    fn parts(&self) -> Parts {
        Parts {
            client: self.client.clone(),
            access: Arc::clone(&self.access),
            metrics: self.metrics.clone(),
            concurrency: self.options.concurrency,
        }
    }
}

/// Resolves when every watch has its first complete list; to nothing when one ended before.
async fn first_lists(clusters: Store<HyperCacheCluster>, stores: Stores) -> Option<()> {
    clusters.wait_until_ready().await.ok()?;
    stores.accounts.wait_until_ready().await.ok()?;
    stores.configs.wait_until_ready().await.ok()?;
    stores.services.wait_until_ready().await.ok()?;
    stores.budgets.wait_until_ready().await.ok()?;
    stores.sets.wait_until_ready().await.ok()?;
    stores.pods.wait_until_ready().await.ok()?;
    stores.claims.wait_until_ready().await.ok()
}

struct Parts {
    client: Client,
    access: Arc<dyn ClusterAccess>,
    metrics: Metrics,
    concurrency: u16,
}

/// What the operator looks after: one namespace, or all.
struct Scope {
    namespace: Option<String>,
    operator: Parts,
    stop: watch::Receiver<bool>,
}

impl Scope {
    fn api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        let client = self.operator.client.clone();
        match &self.namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        }
    }

    async fn run(self, ready: mpsc::Sender<()>) {
        let (queue, mut queued) = mpsc::channel(QUEUE);
        let reporter =
            Reporter { queue, stop: self.stop.clone(), metrics: self.operator.metrics.clone() };
        let made = || watcher::Config::default().labels(MANAGED_SELECTOR);
        let mut tasks = Vec::new();
        macro_rules! watched {
            ($config:expr, $relevant:expr, $owner:expr) => {{
                let (store, task) =
                    watches::start(self.api(), $config, $relevant, $owner, reporter.clone());
                tasks.push(task);
                store
            }};
        }
        let clusters = watched!(
            watcher::Config::default(),
            watches::resource::relevant,
            watches::resource::owner
        );
        let stores = Stores {
            accounts: watched!(made(), watches::all_but_status, watches::controlling_owner),
            configs: watched!(made(), watches::all_but_status, watches::controlling_owner),
            services: watched!(made(), watches::all_but_status, watches::controlling_owner),
            budgets: watched!(made(), watches::all_but_status, watches::controlling_owner),
            sets: watched!(made(), watches::set_relevant, watches::controlling_owner),
            pods: watched!(made(), watches::pod_relevant, watches::labelled_owner),
            claims: watched!(made(), watches::claim_relevant, watches::labelled_owner),
        };
        drop(reporter);
        // A pass that does not see what is there would make it anew: wait for every first list.
        // The queue is kept empty meanwhile; each resource is queued once when all is seen.
        let mut first_lists = std::pin::pin!(first_lists(clusters.clone(), stores.clone()));
        let seen = loop {
            tokio::select! {
                seen = &mut first_lists => break seen,
                more = queued.recv() => match more {
                    Some(_) => self.operator.metrics.queued(-1),
                    None => break None,
                },
            }
        };
        if seen.is_some() {
            self.operator.metrics.add_clusters(clusters.clone());
            let _ = ready.send(()).await;
            self.passes(clusters, stores, queued).await;
        }
        for task in tasks {
            task.abort();
        }
    }

    async fn passes(
        self,
        clusters: Store<HyperCacheCluster>,
        stores: Stores,
        mut queued: mpsc::Receiver<ObjectRef<HyperCacheCluster>>,
    ) {
        let Parts { client, access, metrics, concurrency } = self.operator;
        let context = Arc::new(Context {
            applier: Applier::new(client.clone(), metrics.clone()),
            recorder: Recorder::new(
                client.clone(),
                EventReporter {
                    controller: MANAGER.into(),
                    instance: std::env::var("HOSTNAME").ok(),
                },
            ),
            client,
            access,
            stores,
            metrics,
            refusals: std::sync::Mutex::default(),
        });
        let first: Vec<_> =
            clusters.state().iter().map(|cluster| ObjectRef::from_obj(&**cluster)).collect();
        let counted = context.metrics.clone();
        let later = stream::poll_fn(move |task| queued.poll_recv(task))
            .inspect(move |_| counted.queued(-1));
        let mut stop = self.stop;
        let queue = stream::iter(first)
            .chain(later)
            .map(|resource| Ok::<_, watcher::Error>(ReconcileRequest::from(resource)))
            .take_until(async move {
                let _ = stop.wait_for(|stop| *stop).await;
            });
        applier(
            |cluster, context| Box::pin(reconcile(cluster, context)),
            retry,
            context,
            clusters,
            queue,
            ControllerConfig::default().concurrency(concurrency).debounce(DEBOUNCE),
        )
        .for_each(|outcome| async {
            if let Err(error) = outcome {
                tracing::debug!(action = "pass-failed", %error, "a pass did not succeed");
            }
        })
        .await;
    }
}
