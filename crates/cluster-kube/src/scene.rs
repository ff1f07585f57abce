//! What is in the namespace, kept current by watches.

use std::collections::BTreeMap;
use std::fmt::Debug;

use futures::stream::{BoxStream, SelectAll};
use futures::{StreamExt, TryFutureExt};
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event as KubeEvent, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use seatrial_preview::{Namespace, Result};
use serde::de::DeserializeOwned;

use crate::cluster::KubeCluster;

/// The workloads of a namespace, their pods and claims, and what events say against them.
#[derive(Debug, Default)]
pub(crate) struct Scene {
    pub deployments: Shelf<Deployment>,
    pub replica_sets: Shelf<ReplicaSet>,
    pub stateful_sets: Shelf<StatefulSet>,
    pub daemon_sets: Shelf<DaemonSet>,
    pub jobs: Shelf<Job>,
    pub pods: Shelf<Pod>,
    pub claims: Shelf<PersistentVolumeClaim>,
    pub events_seen: bool,
    /// By uid: the newest message why a workload's pods are not made, why a pod's volume is not
    /// mounted, why a claim gets no volume.
    pub complaints: BTreeMap<String, String>,
}

/// Objects of one kind by name.
#[derive(Debug)]
pub(crate) struct Shelf<K> {
    items: BTreeMap<String, K>,
    /// Filled while a watch begins anew.
    incoming: BTreeMap<String, K>,
    complete: bool,
}

impl<K> Default for Shelf<K> {
    fn default() -> Self {
        Self { items: BTreeMap::new(), incoming: BTreeMap::new(), complete: false }
    }
}

impl<K: ResourceExt> Shelf<K> {
    pub(crate) fn of(items: Vec<K>) -> Self {
        let items = items.into_iter().map(|item| (item.name_any(), item)).collect();
        Self { items, incoming: BTreeMap::new(), complete: true }
    }

    fn note(&mut self, event: Event<K>) {
        match event {
            Event::Apply(object) => {
                self.items.insert(object.name_any(), object);
            }
            Event::Delete(object) => {
                self.items.remove(&object.name_any());
            }
            Event::Init => self.incoming.clear(),
            Event::InitApply(object) => {
                self.incoming.insert(object.name_any(), object);
            }
            Event::InitDone => {
                self.items = std::mem::take(&mut self.incoming);
                self.complete = true;
            }
        }
    }

    pub(crate) fn find(&self, name: &str) -> Option<&K> {
        self.items.get(name)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &K> {
        self.items.values()
    }

    /// The very object an owner reference means, not a later one of the same name.
    pub(crate) fn owner(&self, reference: &OwnerReference) -> Option<&K> {
        self.items.get(&reference.name).filter(|found| found.uid().as_deref() == Some(reference.uid.as_str()))
    }
}

pub(crate) enum Change {
    Deployment(Event<Deployment>),
    ReplicaSet(Event<ReplicaSet>),
    StatefulSet(Event<StatefulSet>),
    DaemonSet(Event<DaemonSet>),
    Job(Event<Job>),
    Pod(Event<Pod>),
    Claim(Event<PersistentVolumeClaim>),
    Event(Event<KubeEvent>),
}

pub(crate) type Changes = SelectAll<BoxStream<'static, Result<Change, watcher::Error>>>;

impl Scene {
    /// False until every kind was seen once: what is not yet known must not count as absent.
    pub(crate) fn is_complete(&self) -> bool {
        self.deployments.complete
            && self.replica_sets.complete
            && self.stateful_sets.complete
            && self.daemon_sets.complete
            && self.jobs.complete
            && self.pods.complete
            && self.claims.complete
            && self.events_seen
    }

    pub(crate) fn note(&mut self, change: Change) {
        match change {
            Change::Deployment(event) => self.deployments.note(event),
            Change::ReplicaSet(event) => self.replica_sets.note(event),
            Change::StatefulSet(event) => self.stateful_sets.note(event),
            Change::DaemonSet(event) => self.daemon_sets.note(event),
            Change::Job(event) => self.jobs.note(event),
            Change::Pod(event) => self.pods.note(event),
            Change::Claim(event) => self.claims.note(event),
            // Events from before the watch may speak of an earlier deployment. Controllers repeat
            // theirs within seconds.
            Change::Event(Event::Apply(event)) => self.note_complaint(&event),
            Change::Event(Event::InitDone) => self.events_seen = true,
            Change::Event(_) => {}
        }
    }

    fn note_complaint(&mut self, event: &KubeEvent) {
        let reason = event.reason.as_deref().unwrap_or_default();
        if matches!(reason, "FailedCreate" | "FailedMount" | "ProvisioningFailed" | "FailedBinding")
            && let (Some(uid), Some(message)) = (&event.involved_object.uid, &event.message)
        {
            self.complaints.insert(uid.clone(), message.clone());
        }
    }

    /// What there is right now, events included, whenever they were.
    pub(crate) async fn load(cluster: &KubeCluster, namespace: &Namespace) -> Result<Self> {
        let (deployments, replica_sets, stateful_sets, daemon_sets, jobs, pods, claims, events) = futures::try_join!(
            list::<Deployment>(cluster, namespace),
            list::<ReplicaSet>(cluster, namespace),
            list::<StatefulSet>(cluster, namespace),
            list::<DaemonSet>(cluster, namespace),
            list::<Job>(cluster, namespace),
            list::<Pod>(cluster, namespace),
            list::<PersistentVolumeClaim>(cluster, namespace),
            list::<KubeEvent>(cluster, namespace),
        )?;
        let mut scene = Self {
            deployments: Shelf::of(deployments),
            replica_sets: Shelf::of(replica_sets),
            stateful_sets: Shelf::of(stateful_sets),
            daemon_sets: Shelf::of(daemon_sets),
            jobs: Shelf::of(jobs),
            pods: Shelf::of(pods),
            claims: Shelf::of(claims),
            events_seen: true,
            complaints: BTreeMap::new(),
        };
        for event in events {
            scene.note_complaint(&event);
        }
        Ok(scene)
    }
}

pub(crate) async fn list<K>(cluster: &KubeCluster, namespace: &Namespace) -> Result<Vec<K>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let doing = format!("list the {} of {namespace}", K::plural(&()));
    let api = cluster.api::<K>(namespace);
    let params = ListParams::default().limit(500);
    match api.list(&params).map_ok(|found| found.items).await {
        Ok(items) => Ok(items),
        Err(error) => Err(cluster.explain_in(namespace, &doing, error).await),
    }
}

/// All changes in the namespace, beginning with what there is. Broken watches begin anew by
/// themselves; the stream tells of it and goes on.
pub(crate) fn watch(client: &Client, namespace: &Namespace) -> Changes {
    let mut changes = Changes::new();
    changes.push(one(client, namespace, Change::Deployment));
    changes.push(one(client, namespace, Change::ReplicaSet));
    changes.push(one(client, namespace, Change::StatefulSet));
    changes.push(one(client, namespace, Change::DaemonSet));
    changes.push(one(client, namespace, Change::Job));
    changes.push(one(client, namespace, Change::Pod));
    changes.push(one(client, namespace, Change::Claim));
    changes.push(one(client, namespace, Change::Event));
    changes
}

fn one<K>(
    client: &Client,
    namespace: &Namespace,
    wrap: fn(Event<K>) -> Change,
) -> BoxStream<'static, Result<Change, watcher::Error>>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace.as_str());
    watcher(api, watcher::Config::default()).default_backoff().map(move |event| event.map(wrap)).boxed()
}
