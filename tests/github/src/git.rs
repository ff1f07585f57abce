//! Just enough of git: blobs, trees, commits, ancestry and differences.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use sha1::{Digest, Sha1};

/// All files of a commit by path.
pub(crate) type Tree = BTreeMap<String, Arc<Blob>>;

/// One file's content, named by git's own hash.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Blob {
    pub(crate) sha: String,
    pub(crate) data: Bytes,
    pub(crate) mode: Mode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Regular,
    Executable,
    Symlink,
}

impl Blob {
    pub(crate) fn new(data: impl Into<Bytes>, mode: Mode) -> Arc<Self> {
        let data = data.into();
        let sha = hash("blob", &data);
        Arc::new(Self { sha, data, mode })
    }

    /// A file; scripts are executable, as they would be committed.
    pub(crate) fn file(data: impl Into<Bytes>) -> Arc<Self> {
        let data = data.into();
        let mode = if data.starts_with(b"#!") { Mode::Executable } else { Mode::Regular };
        Self::new(data, mode)
    }
}

/// A commit with its whole tree.
#[derive(Debug)]
pub(crate) struct Commit {
    pub(crate) sha: String,
    pub(crate) tree_sha: String,
    pub(crate) message: String,
    pub(crate) author: String,
    pub(crate) date: DateTime<Utc>,
    pub(crate) parents: Vec<String>,
    pub(crate) files: Tree,
}

impl Commit {
    /// Makes a commit. The serial number keeps two equal ones in the same second apart.
    pub(crate) fn new(
        message: &str,
        author: &str,
        date: DateTime<Utc>,
        parents: Vec<String>,
        files: Tree,
        serial: u64,
    ) -> Arc<Self> {
        let tree_sha = tree_sha(&files, "");
        let who = format!("{author} <{author}@users.noreply.github.com> {} +0000", date.timestamp());
        let mut text = format!("tree {tree_sha}\n");
        for parent in &parents {
            text.push_str(&format!("parent {parent}\n"));
        }
        text.push_str(&format!("author {who}\ncommitter {who}\nserial {serial}\n\n{message}\n"));
        Arc::new(Self {
            sha: hash("commit", text.as_bytes()),
            tree_sha,
            message: message.to_owned(),
            author: author.to_owned(),
            date,
            parents,
            files,
        })
    }
}

fn digest(kind: &str, data: &[u8]) -> [u8; 20] {
    let mut hasher = Sha1::new();
    hasher.update(format!("{kind} {}\0", data.len()));
    hasher.update(data);
    hasher.finalize().into()
}

fn hash(kind: &str, data: &[u8]) -> String {
    hex::encode(digest(kind, data))
}

/// The hash of the tree under `prefix` (empty, or ending in a slash).
pub(crate) fn tree_sha(files: &Tree, prefix: &str) -> String {
    hex::encode(tree_digest(files, prefix))
}

fn tree_digest(files: &Tree, prefix: &str) -> [u8; 20] {
    // git sorts a folder as if its name ended in a slash.
    let mut entries: BTreeMap<String, (&'static str, [u8; 20])> = BTreeMap::new();
    for (path, blob) in files.range(prefix.to_owned()..) {
        let Some(rest) = path.strip_prefix(prefix) else {
            break;
        };
        match rest.split_once('/') {
            Some((folder, _)) => {
                let key = format!("{folder}/");
                let below = format!("{prefix}{key}");
                entries.entry(key).or_insert_with(|| ("40000", tree_digest(files, &below)));
            }
            None => {
                let mode = match blob.mode {
                    Mode::Regular => "100644",
                    Mode::Executable => "100755",
                    Mode::Symlink => "120000",
                };
                entries.insert(rest.to_owned(), (mode, digest("blob", &blob.data)));
            }
        }
    }
    let mut data = Vec::new();
    for (name, (mode, sha)) in entries {
        data.extend_from_slice(format!("{mode} {}\0", name.trim_end_matches('/')).as_bytes());
        data.extend_from_slice(&sha);
    }
    digest("tree", &data)
}

/// Commits by hash, for all repositories: forks share them.
pub(crate) type Commits = HashMap<String, Arc<Commit>>;

/// `from` and everything it descends from, nearest first.
pub(crate) fn ancestors(commits: &Commits, from: &str) -> Vec<Arc<Commit>> {
    let mut seen = HashSet::new();
    let mut queue = VecDeque::from([from.to_owned()]);
    let mut found = Vec::new();
    while let Some(sha) = queue.pop_front() {
        if !seen.insert(sha.clone()) {
            continue;
        }
        if let Some(commit) = commits.get(&sha) {
            queue.extend(commit.parents.iter().cloned());
            found.push(Arc::clone(commit));
        }
    }
    found
}

/// The nearest commit both descend from.
pub(crate) fn merge_base(commits: &Commits, left: &str, right: &str) -> Option<Arc<Commit>> {
    let known: HashSet<String> = ancestors(commits, left).iter().map(|commit| commit.sha.clone()).collect();
    ancestors(commits, right).into_iter().find(|commit| known.contains(&commit.sha))
}

/// `ours` with the changes `theirs` made since `base`.
pub(crate) fn merge_trees(base: &Tree, ours: &Tree, theirs: &Tree) -> Tree {
    let mut merged = ours.clone();
    for path in base.keys().chain(theirs.keys()) {
        match (base.get(path), theirs.get(path)) {
            (before, after) if before == after => {}
            (_, Some(blob)) => {
                merged.insert(path.clone(), Arc::clone(blob));
            }
            (_, None) => {
                merged.remove(path);
            }
        }
    }
    merged
}

/// What happened to one file between two trees.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) path: String,
    pub(crate) status: &'static str,
    pub(crate) sha: String,
    pub(crate) additions: usize,
    pub(crate) deletions: usize,
    pub(crate) patch: Option<String>,
}

/// The files that differ, in order of their paths.
pub(crate) fn changes(before: &Tree, after: &Tree) -> Vec<Change> {
    let mut paths: Vec<&String> = before.keys().chain(after.keys()).collect();
    paths.sort();
    paths.dedup();
    paths
        .into_iter()
        .filter_map(|path| match (before.get(path), after.get(path)) {
            (None, Some(new)) => Some(change(path, "added", None, Some(new))),
            (Some(old), None) => Some(change(path, "removed", Some(old), None)),
            (Some(old), Some(new)) if old != new => Some(change(path, "modified", Some(old), Some(new))),
            _ => None,
        })
        .collect()
}

fn change(path: &str, status: &'static str, old: Option<&Blob>, new: Option<&Blob>) -> Change {
    let text =
        |blob: Option<&Blob>| blob.map_or(Some(String::new()), |blob| String::from_utf8(blob.data.to_vec()).ok());
    let sha = new.or(old).map(|blob| blob.sha.clone()).unwrap_or_default();
    let (patch, additions, deletions) = match (text(old), text(new)) {
        (Some(old), Some(new)) => hunk(&old, &new),
        _ => (None, 0, 0),
    };
    Change { path: path.to_owned(), status, sha, additions, deletions, patch }
}

/// One hunk from the first to the last line that differ: correct, if not the shortest.
fn hunk(old: &str, new: &str) -> (Option<String>, usize, usize) {
    let old: Vec<&str> = old.lines().collect();
    let new: Vec<&str> = new.lines().collect();
    let start = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let shorter = old.len().min(new.len()) - start;
    let end = old.iter().rev().zip(new.iter().rev()).take(shorter).take_while(|(a, b)| a == b).count();
    let removed = &old[start..old.len() - end];
    let added = &new[start..new.len() - end];
    let first = |lines: &[&str]| if lines.is_empty() { start } else { start + 1 };
    let mut patch = format!("@@ -{},{} +{},{} @@", first(removed), removed.len(), first(added), added.len());
    for line in removed {
        patch.push_str(&format!("\n-{line}"));
    }
    for line in added {
        patch.push_str(&format!("\n+{line}"));
    }
    (Some(patch), added.len(), removed.len())
}
