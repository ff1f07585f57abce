//! What people write on pull requests, carried out like everything else.

use async_trait::async_trait;
use futures::TryStreamExt as _;
use seatrial_preview::command::Command;
use seatrial_preview::comment::Answer;
use seatrial_preview::ports::LogQuery;
use seatrial_preview::{Error, ErrorKind, Result as PortResult};
use seatrial_workflows::command::{Door, Order};
use seatrial_workflows::deploy;

use crate::access::Principal;
use crate::audit::Act;
use crate::error::{OperationError, Port};
use crate::name::EnvironmentName;
use crate::operations::{Operations, PATIENCE};
use crate::previews::{not_open, trigger};

/// So many log lines fit the comment, and so many bytes of them.
const LINES: i64 = 40;
const BYTES: usize = 16 << 10;

#[async_trait]
impl Door for Operations {
    async fn carry_out(&self, order: &Order) -> PortResult<Answer> {
        self.obey(order).await.map_err(|error| match error {
            OperationError::Unavailable { sentence, retry_after, .. } => {
                Error { retry_after, ..Error::transient(sentence) }
            }
            OperationError::NotFound { sentence, .. } => Error::new(ErrorKind::NotFound, sentence),
            other => Error::new(ErrorKind::Invalid, other.to_string()),
        })
    }
}

impl Operations {
    async fn obey(&self, order: &Order) -> Result<Answer, OperationError> {
        let who = &Principal::of_github(&order.by, &order.at.repository);
        let name = &EnvironmentName::PullRequest(order.at.clone());
        match &order.command {
            Command::Deploy => {
                let act = Act::new("preview.deploy", &order.at).repository(&order.at.repository);
                self.audited(who, act, self.deploy_ordered(who, order)).await
            }
            Command::Retry => self.retry_preview(who, name).await.map(|_| Answer::Retrying),
            Command::Delete => self.delete_preview(who, name).await.map(|_| Answer::Deleting),
            Command::Sleep => self.sleep_preview(who, name).await.map(|_| Answer::FallingAsleep),
            Command::Wake => self.wake_preview(who, name).await.map(|_| Answer::Waking),
            Command::Extend { by } => {
                let view = self.extend_preview(who, name, *by).await?;
                Ok(Answer::KeptUntil { at: view.environment.life.kept_until.unwrap_or_else(|| self.now()) })
            }
            Command::Pin => self.pin_preview(who, name, true).await.map(|_| Answer::Pinned),
            Command::Unpin => self.pin_preview(who, name, false).await.map(|_| Answer::Unpinned),
            Command::Approve { commit } => {
                let requested = self.approve_commit(who, &order.at, commit).await?;
                Ok(Answer::Approved { sha: requested.environment.environment.head_sha })
            }
            Command::Logs => self.show_logs(who, name).await,
            Command::Help => Ok(Answer::Help),
        }
    }

    async fn deploy_ordered(&self, who: &Principal, order: &Order) -> Result<Answer, OperationError> {
        let pull_request = self.ask(Port::Forge, PATIENCE, self.forge.load_pull_request(&order.at)).await?;
        if !pull_request.is_open() {
            return Err(not_open(&order.at));
        }
        let run = deploy(&order.at, Some(pull_request), &trigger(who));
        // The same order again is the same deployment.
        self.start(run.map(|run| run.deduplication(order.id.to_string()))).await?;
        Ok(Answer::Deploying)
    }

    async fn show_logs(&self, who: &Principal, name: &EnvironmentName) -> Result<Answer, OperationError> {
        let pods = self.list_pods(who, name).await?;
        let Some(pod) = pods.first() else {
            return Err(OperationError::not_found("no_pods", "The preview has no pods now."));
        };
        let query = LogQuery { pod: Some(pod.name.clone()), tail: Some(LINES), ..LogQuery::default() };
        let lines = self.get_logs(who, name, query).await?;
        let text = lines
            .try_fold(Vec::new(), async |mut text: Vec<u8>, line| {
                if text.len() < BYTES {
                    text.extend_from_slice(&line);
                }
                Ok(text)
            })
            .await
            .map_err(|error| OperationError::of_port(Port::Cluster, error))?;
        Ok(Answer::Logs { pod: pod.name.clone(), text: String::from_utf8_lossy(&text).into_owned() })
    }
}
