//! What the control API takes.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::auth::Permission;
use crate::users::AccountKind;

/// The content of a file to be committed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FileContent {
    /// Text as it is.
    Text(String),
    /// Bytes that are not text.
    Base64 {
        /// The content in base64.
        base64: String,
    },
    /// A symbolic link, wherever it leads: hostile pull requests have them.
    Symlink {
        /// Where it leads.
        symlink: String,
    },
}

impl From<&str> for FileContent {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for FileContent {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<u8>> for FileContent {
    fn from(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Base64 { base64: STANDARD.encode(error.into_bytes()) },
        }
    }
}

/// Files by their path in the repository.
pub type Files = BTreeMap<String, FileContent>;

/// Files from pairs of path and content.
pub fn files<P: Into<String>, C: Into<FileContent>>(pairs: impl IntoIterator<Item = (P, C)>) -> Files {
    pairs.into_iter().map(|(path, content)| (path.into(), content.into())).collect()
}

/// All files of a folder, without `.git`.
pub fn files_of(folder: &Path) -> anyhow::Result<Files> {
    let mut found = Files::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let entries = std::fs::read_dir(&next).with_context(|| format!("reading {next:?}"))?;
        for entry in entries {
            let entry = entry?;
            let path = entry.path();
            let kind = entry.file_type()?;
            if kind.is_dir() && entry.file_name() != ".git" {
                folders.push(path);
            } else if kind.is_file() {
                let name = path.strip_prefix(folder)?.to_string_lossy().into_owned();
                found.insert(name, std::fs::read(&path)?.into());
            }
        }
    }
    Ok(found)
}

/// A repository to be made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewRepository {
    /// A login; an unknown one becomes an organisation.
    pub owner: String,
    /// Its name.
    pub name: String,
    /// Hidden from those without permission.
    pub private: bool,
    /// `main` where it is not given.
    pub default_branch: Option<String>,
    /// A first commit with these files, unless there are none.
    pub files: Files,
}

/// A commit to be made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewCommit {
    /// Made from the default branch where it is not there yet. Not needed to push to a pull request.
    pub branch: String,
    /// Files to write.
    pub files: Files,
    /// Paths to delete; a folder's name deletes what is in it.
    pub delete: Vec<String>,
    /// What it says; a sentence is made up where it is empty.
    pub message: String,
    /// The author's login; the pull request's author or `octocat` where it is empty.
    pub author: String,
    /// Replace the last commit instead of adding to it.
    pub force: bool,
}

/// A container image that CI has pushed to GitHub's own registry.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewPackage {
    /// The package's name, mostly the repository's.
    pub name: String,
    /// The image's tag.
    pub tag: String,
}

/// Who does something.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Author {
    /// The login; an App's ends in `[bot]`.
    pub login: String,
    /// What kind of account it is.
    #[serde(default, rename = "type")]
    pub kind: AccountKind,
}

impl Default for Author {
    fn default() -> Self {
        Self::user("octocat")
    }
}

impl Author {
    /// A person.
    pub fn user(login: &str) -> Self {
        Self { login: login.to_owned(), kind: AccountKind::User }
    }

    /// An App's account.
    pub fn bot(login: &str) -> Self {
        Self { login: login.to_owned(), kind: AccountKind::Bot }
    }
}

/// A pull request to be opened.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NewPull {
    /// Its title.
    pub title: String,
    /// Its text.
    pub body: Option<String>,
    /// Who opens it.
    pub author: Author,
    /// `owner/name` of the fork it comes from; the repository itself where it is not given.
    pub head_repository: Option<String>,
    /// The branch it comes from.
    pub head: String,
    /// The branch it goes to; the default branch where it is not given.
    pub base: Option<String>,
    /// Not ready for review.
    pub draft: bool,
    /// Labels it opens with.
    pub labels: Vec<String>,
    /// Committed to the head branch first, which is made from the base if it is not there.
    pub files: Files,
}

/// What becomes of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookMode {
    /// They are sent.
    #[default]
    Deliver,
    /// They wait until they are released, in any order.
    Hold,
    /// They are not sent, and recorded as failed.
    Lose,
}

/// Settings of the webhook; what is not given stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HookChange {
    /// Where events go; an empty one takes the hook away.
    pub url: Option<String>,
    /// What they are signed with; an empty one leaves them unsigned.
    pub secret: Option<String>,
    /// Which events; `*` for all.
    pub events: Option<Vec<String>>,
    /// What becomes of them.
    pub mode: Option<HookMode>,
}

/// A personal token.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSpec {
    /// The secret.
    pub token: String,
    /// Whose it is.
    pub login: String,
    /// What its owner may do in every repository, unless the repository says otherwise.
    #[serde(default)]
    pub permission: Option<Permission>,
}

/// What the stand-in knows from the start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Seed {
    /// Repositories.
    pub repositories: Vec<NewRepository>,
    /// Pull requests, by `owner/name`, in order.
    pub pulls: BTreeMap<String, Vec<NewPull>>,
    /// Personal tokens.
    pub tokens: Vec<TokenSpec>,
}
