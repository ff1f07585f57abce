use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;
use seatrial_engine::{Clock, Journal, NewRun, RunDetail, RunId, RunSummary};
use seatrial_preview::access::Visible;
use seatrial_preview::failure::FailureSnapshot;
use seatrial_preview::naming::UrlTemplate;
use seatrial_preview::ports::Environments;
use seatrial_preview::pull_request::PullRequest;
use seatrial_preview::{DeliveryId, EnvironmentId, HeadSha, Namespace, PullRequestRef, RepositoryName};

use crate::access::{AuditQueries, IdempotencyQueries, ProjectQueries, TeamQueries, TokenQueries};
use crate::error::StoreError;
use crate::views::{
    Counts, DeliveryFilter, DeliveryView, EnvironmentFilter, EnvironmentView, Page, PageRequest, RunFilter,
};
use crate::{postgres, sqlite};

/// What [`Store::open`] needs to know.
#[derive(Clone)]
pub struct StoreOptions {
    /// `sqlite://PATH` (the file is made if it is not there) or
    /// `postgres://USER:PASSWORD@HOST/DATABASE`.
    pub url: String,
    /// Where previews are reached; an environment's URL is made from it once.
    pub preview_url: UrlTemplate,
    pub clock: Arc<dyn Clock>,
}

/// The store, on the database that its URL names. Cheap to clone; all clones share connections.
#[derive(Clone)]
pub struct Store(Arc<dyn Database>);

impl Store {
    /// Opens the database and brings its tables up to date; safe with several programs starting
    /// at once.
    ///
    /// # Errors
    /// When the URL is of neither database, the database cannot be reached, opened or locked, a
    /// migration fails, or the database does not confirm that its writes are power-safe.
    pub async fn open(options: StoreOptions) -> Result<Self, StoreError> {
        match options.url.split_once(':').map_or("", |(scheme, _)| scheme) {
            "sqlite" => Ok(Self(Arc::new(sqlite::Db::open(options).await?))),
            "postgres" | "postgresql" => Ok(Self(Arc::new(postgres::Db::open(options).await?))),
            // Not shown: another database's URL may hold a password.
            _ => Err(StoreError::Invalid(
                "the database URL is neither SQLite's nor PostgreSQL's: write it as sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE".to_owned(),
            )),
        }
    }

    /// The engine's side of the store.
    pub fn journal(&self) -> Arc<dyn Journal> {
        self.0.clone()
    }

    /// The domain's side of the store.
    pub fn environments(&self) -> Arc<dyn Environments> {
        self.0.clone()
    }
}

impl Deref for Store {
    type Target = dyn Database;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

/// All that a database does for the product.
#[async_trait]
pub trait Database:
    Journal
    + Environments
    + RunQueries
    + EnvironmentQueries
    + DeliveryQueries
    + TeamQueries
    + TokenQueries
    + ProjectQueries
    + AuditQueries
    + IdempotencyQueries
{
    /// Whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Runs, as pages and programs read them. The errors are those of the database, and `Invalid`
/// when a page's cursor is not one of ours.
#[async_trait]
pub trait RunQueries {
    /// Runs, the newest first.
    async fn list_runs(
        &self,
        visible: &Visible,
        filter: &RunFilter,
        page: &PageRequest,
    ) -> Result<Page<RunSummary>, StoreError>;

    /// [`Journal::find_run`], if it is to be seen.
    async fn find_visible_run(&self, visible: &Visible, run: RunId) -> Result<Option<RunDetail>, StoreError>;

    /// How many runs and environments there are in each state.
    async fn counts(&self) -> Result<Counts, StoreError>;
}

/// Environments, as pages and programs read them.
#[async_trait]
pub trait EnvironmentQueries {
    /// Environments, the ones last changed first.
    async fn list_environments(
        &self,
        visible: &Visible,
        filter: &EnvironmentFilter,
        page: &PageRequest,
    ) -> Result<Page<EnvironmentView>, StoreError>;

    async fn find_environment(
        &self,
        visible: &Visible,
        id: EnvironmentId,
    ) -> Result<Option<EnvironmentView>, StoreError>;

    async fn find_environment_of(
        &self,
        visible: &Visible,
        at: &PullRequestRef,
    ) -> Result<Option<EnvironmentView>, StoreError>;

    async fn find_environment_by_namespace(
        &self,
        visible: &Visible,
        namespace: &Namespace,
    ) -> Result<Option<EnvironmentView>, StoreError>;

    /// By the host of its URL, without a port. For the gateway, which serves everybody.
    async fn find_environment_by_host(&self, host: &str) -> Result<Option<EnvironmentView>, StoreError>;

    /// The newest failure snapshot of an environment, and the run it belongs to.
    async fn find_snapshot(&self, environment: EnvironmentId) -> Result<Option<(RunId, FailureSnapshot)>, StoreError>;
}

/// Webhook deliveries: kept before they are answered, together with what they start.
#[async_trait]
pub trait DeliveryQueries {
    /// Stores the delivery, its environment and its run in one transaction, or nothing. A delivery
    /// that was stored before changes nothing.
    async fn accept_delivery(&self, delivery: NewDelivery) -> Result<Accepted, StoreError>;

    /// Deliveries, the newest first.
    async fn list_deliveries(
        &self,
        visible: &Visible,
        filter: &DeliveryFilter,
        page: &PageRequest,
    ) -> Result<Page<DeliveryView>, StoreError>;

    /// A delivery and its payload.
    async fn find_delivery(
        &self,
        visible: &Visible,
        id: &DeliveryId,
    ) -> Result<Option<(DeliveryView, Vec<u8>)>, StoreError>;
}

/// A verified delivery and what it means.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    pub id: DeliveryId,
    pub event: String,
    pub action: Option<String>,
    pub at: Option<PullRequestRef>,
    pub payload: Vec<u8>,
    pub meaning: Meaning,
    /// The delivery that somebody had repeated.
    pub repeats: Option<DeliveryId>,
}

/// What a delivery brings about.
#[derive(Debug, Clone)]
pub enum Meaning {
    /// Nothing, and why.
    Ignored(String),
    /// A run for a pull request and its environment.
    Start {
        pull_request: Box<PullRequest>,
        run: NewRun,
        /// Start only where there is something to work on: the pull request has an environment that
        /// is not deleted, or a run. Else this is why nothing starts.
        unless_idle: Option<String>,
    },
    /// A run that has no environment of its own.
    Command(NewRun),
    /// What runs of the repository may be waiting for has come; without a commit, for all of them.
    Arrived { repository: RepositoryName, sha: Option<HeadSha> },
    /// The repository's environments go by its new name from now on.
    Renamed { from: RepositoryName, to: RepositoryName },
}

/// The answer to a delivery; the same for its duplicates.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// False when this delivery was stored before.
    pub fresh: bool,
    pub run: Option<RunId>,
    /// Why it started nothing.
    pub ignored: Option<String>,
}
