//! Files of a commit, one by one or as an archive.

use std::io;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::auth::{Need, allow};
use crate::call::Call;
use crate::git::{Blob, Commit, Mode, tree_sha};
use crate::reply::{Answer, Refusal, Reply};
use crate::state::{Repository, State};
use crate::text::{base64_lines, encode};

const CONTENTS: Need = Need::read(&["contents"]);

impl State {
    fn entry(&self, repository: &Repository, reference: &str, path: &str, kind: &str, sha: &str, size: usize) -> Value {
        let api = self.repository_url(repository);
        let page = format!("{}/{}", self.base, repository.full_name());
        let (encoded, at) = (encode(path), encode(reference));
        let (git, html) = match kind {
            "dir" => ("trees", "tree"),
            _ => ("blobs", "blob"),
        };
        let url = format!("{api}/contents/{encoded}?ref={at}");
        let git = format!("{api}/git/{git}/{sha}");
        let html = format!("{page}/{html}/{at}/{encoded}");
        let download = (kind != "dir").then(|| format!("{page}/raw/{at}/{encoded}"));
        json!({
            "name": path.rsplit('/').next().unwrap_or(path),
            "path": path, "sha": sha, "size": size, "url": url, "html_url": html,
            "git_url": git, "download_url": download, "type": kind,
            "_links": { "self": url, "git": git, "html": html },
        })
    }

    fn file(&self, repository: &Repository, at: &str, path: &str, blob: &Blob) -> Value {
        let kind = if blob.mode == Mode::Symlink { "symlink" } else { "file" };
        let mut value = self.entry(repository, at, path, kind, &blob.sha, blob.data.len());
        if kind == "symlink" {
            value["target"] = String::from_utf8_lossy(&blob.data).into_owned().into();
        } else if blob.data.len() <= 1024 * 1024 {
            value["content"] = base64_lines(&blob.data).into();
            value["encoding"] = "base64".into();
        } else {
            // Above a megabyte only the raw form carries the content.
            value["content"] = "".into();
            value["encoding"] = "none".into();
        }
        value
    }

    fn folder(&self, repository: &Repository, at: &str, commit: &Commit, path: &str) -> Result<Value, Refusal> {
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let mut entries: Vec<Value> = Vec::new();
        let mut last = None;
        for (full, blob) in commit.files.range(prefix.clone()..) {
            let Some(rest) = full.strip_prefix(&prefix) else {
                break;
            };
            let (name, folder) = match rest.split_once('/') {
                Some((name, _)) => (name, true),
                None => (rest, false),
            };
            if last == Some(name) {
                continue;
            }
            last = Some(name);
            let child = format!("{prefix}{name}");
            entries.push(if folder {
                let sha = tree_sha(&commit.files, &format!("{child}/"));
                self.entry(repository, at, &child, "dir", &sha, 0)
            } else {
                let size = blob.data.len();
                self.entry(repository, at, &child, "file", &blob.sha, size)
            });
        }
        if entries.is_empty() {
            return Err(Refusal::not_found());
        }
        Ok(Value::Array(entries))
    }
}

/// `GET …/contents/{path}?ref=`
pub(crate) fn get(state: &State, call: &Call, id: u64, path: &str) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, CONTENTS)?;
    let at = call.parameter("ref").filter(|reference| !reference.is_empty()).unwrap_or(&repository.default_branch);
    let sha = repository.resolve(at).ok_or_else(|| Refusal::new(404, format!("No commit found for the ref {at}")))?;
    let commit = state.commit(&sha)?;
    let Some(blob) = commit.files.get(path) else {
        return state.folder(repository, at, commit, path).map(Reply::ok);
    };
    let raw = call.header("accept").is_some_and(|accept| accept.contains("vnd.github") && accept.contains("raw"));
    if raw {
        let kind = "application/vnd.github.raw+json; charset=utf-8";
        return Ok(Reply::bytes(kind, blob.data.clone()));
    }
    Ok(Reply::ok(state.file(repository, at, path, blob)))
}

/// `GET …/tarball/{ref}`: sends to the server of archives.
pub(crate) fn tarball(state: &State, call: &Call, id: u64, reference: &str) -> Answer {
    let repository = state.repository(id)?;
    allow(state, call, repository, CONTENTS)?;
    let reference = if reference.is_empty() { repository.default_branch.as_str() } else { reference };
    repository.resolve(reference).ok_or_else(Refusal::not_found)?;
    let url = format!("{}/_codeload/{}/legacy.tar.gz/{}", state.base, repository.full_name(), encode(reference));
    // Private archives need no header, but a secret in the address.
    let url = if repository.private { format!("{url}?token={}", archive_secret(repository)) } else { url };
    Ok(Reply::redirect(302, url))
}

fn archive_secret(repository: &Repository) -> String {
    format!("A{:016X}", repository.id.wrapping_mul(0x9E37_79B9_7F4A_7C15))
}

/// `GET /_codeload/{owner}/{repo}/legacy.tar.gz/{ref}`: the archive itself.
pub(crate) fn archive(state: &State, call: &Call, owner: &str, name: &str, reference: &str) -> Answer {
    let repository = state.find(owner, name).ok_or_else(Refusal::not_found)?;
    let secret = archive_secret(repository);
    if repository.private && call.parameter("token") != Some(secret.as_str()) {
        return Err(Refusal::not_found());
    }
    let sha = repository.resolve(reference).ok_or_else(Refusal::not_found)?;
    let commit = state.commit(&sha)?;
    let top = format!("{}-{}-{}", repository.owner, repository.name, &sha[..7]);
    let data =
        pack(&top, commit).map_err(|error| Refusal::new(500, format!("The archive could not be made: {error}")))?;
    let disposition = format!("attachment; filename={top}.tar.gz");
    Ok(Reply::bytes("application/x-gzip", data).header("Content-Disposition", disposition))
}

/// As `git archive` does it, with the commit's id in a global header.
fn pack(top: &str, commit: &Commit) -> io::Result<Vec<u8>> {
    let gzip = GzEncoder::new(Vec::new(), Compression::default());
    let mut archive = tar::Builder::new(gzip);
    let comment = format!("52 comment={}\n", commit.sha);
    let mut global = tar::Header::new_ustar();
    global.set_entry_type(tar::EntryType::XGlobalHeader);
    global.set_size(comment.len() as u64);
    global.set_mode(0o666);
    archive.append_data(&mut global, "pax_global_header", comment.as_bytes())?;
    let time = u64::try_from(commit.date.timestamp()).unwrap_or_default();
    let mut folder = tar::Header::new_ustar();
    folder.set_entry_type(tar::EntryType::Directory);
    folder.set_mode(0o775);
    folder.set_size(0);
    folder.set_mtime(time);
    archive.append_data(&mut folder, format!("{top}/"), io::empty())?;
    for (path, blob) in &commit.files {
        let full = format!("{top}/{path}");
        let mut header = tar::Header::new_gnu();
        header.set_mtime(time);
        match blob.mode {
            Mode::Symlink => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                header.set_mode(0o777);
                let target = String::from_utf8_lossy(&blob.data).into_owned();
                archive.append_link(&mut header, full, target)?;
            }
            mode => {
                header.set_size(blob.data.len() as u64);
                header.set_mode(if mode == Mode::Executable { 0o775 } else { 0o664 });
                archive.append_data(&mut header, full, blob.data.as_ref())?;
            }
        }
    }
    archive.into_inner()?.finish()
}
