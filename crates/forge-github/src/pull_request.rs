//! GitHub's JSON of a pull request, in API answers and webhooks alike. Only what is needed is
//! read, so that fields GitHub adds or leaves out elsewhere do not matter.

use seatrial_preview::pull_request::{Base, Head, PullRequest, PullRequestState};
use seatrial_preview::{Error, HeadSha, PullRequestRef, RepositoryName};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
pub(crate) struct PullRequestJson {
    number: u64,
    state: String,
    title: Option<String>,
    html_url: Option<String>,
    /// `null` for an account that was deleted.
    user: Option<UserJson>,
    #[serde(default)]
    draft: Option<bool>,
    #[serde(default)]
    merged: Option<bool>,
    #[serde(default)]
    merged_at: Option<String>,
    #[serde(default)]
    labels: Option<Vec<LabelJson>>,
    head: HeadJson,
    base: BaseJson,
}

#[derive(Debug, Deserialize)]
struct UserJson {
    login: String,
    #[serde(default, rename = "type")]
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct LabelJson {
    name: Option<String>,
}

#[derive(Debug, Deserialize)]
struct HeadJson {
    #[serde(rename = "ref")]
    branch: String,
    sha: HeadSha,
    /// `null` when the fork was deleted.
    repo: Option<RepositoryJson>,
}

#[derive(Debug, Deserialize)]
struct BaseJson {
    #[serde(rename = "ref")]
    branch: String,
    sha: HeadSha,
    repo: RepositoryJson,
}

#[derive(Debug, Deserialize)]
struct RepositoryJson {
    full_name: RepositoryName,
}

impl TryFrom<PullRequestJson> for PullRequest {
    type Error = Error;

    fn try_from(json: PullRequestJson) -> Result<Self, Error> {
        let state = match json.state.as_str() {
            "open" => PullRequestState::Open,
            "closed" if json.merged == Some(true) || json.merged_at.is_some() => PullRequestState::Merged,
            "closed" => PullRequestState::Closed,
            other => {
                return Err(Error::invalid(format!(
                    "pull_request.state is {:?}; open or closed is expected",
                    crate::failure::bounded(other, 40)
                )));
            }
        };
        let (author, bot_account) = match json.user {
            Some(user) => (user.login, user.kind.as_deref() == Some("Bot")),
            None => ("ghost".to_owned(), false),
        };
        let repository = json.base.repo.full_name;
        Ok(Self {
            html_url: json.html_url.unwrap_or_default(),
            title: json.title.unwrap_or_default(),
            author_is_bot: bot_account || author.ends_with("[bot]"),
            author,
            draft: json.draft.unwrap_or_default(),
            state,
            head: Head {
                sha: json.head.sha,
                branch: json.head.branch,
                repository: json.head.repo.map(|repo| repo.full_name),
            },
            base: Base { branch: json.base.branch, sha: json.base.sha },
            labels: json.labels.unwrap_or_default().into_iter().filter_map(|label| label.name).collect(),
            at: PullRequestRef { repository, number: json.number },
        })
    }
}
