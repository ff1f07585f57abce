//! One run of helm: bounded in time and output, and never left running.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use seatrial_preview::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::workspace::Workspace;

/// Longer than helm's own `--timeout` for hooks, so that helm can say what it waited for.
const PATIENCE: Duration = Duration::from_secs(600);
/// Time for helm to mark the release as failed when it is told to stop. It takes milliseconds;
/// then nobody has to recover the release.
const GRACE: Duration = Duration::from_secs(5);
const STDERR_LIMIT: usize = 256 * 1024;
/// A release in JSON, with its chart: Kubernetes stores at most 1 MiB of it, compressed.
const STDOUT_LIMIT: usize = 16 * 1024 * 1024;

pub(crate) struct Output {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// What was printed for people; nothing of a release in JSON, which has everything in it.
    pub(crate) fn stdout_if_text(&self) -> &str {
        if self.stdout.contains("{\"") { "" } else { &self.stdout }
    }
}

/// Runs the program in its own process group, with the workspace's environment and nothing else.
///
/// When the future is dropped the group is told to stop (SIGTERM), and killed 5 s later if it has
/// not; the workspace, and with it the release's turn, is kept until then.
pub(crate) async fn run(program: &Path, arguments: &[OsString], workspace: &Arc<Workspace>) -> Result<Output> {
    run_within(program, arguments, workspace, PATIENCE).await
}

async fn run_within(
    program: &Path,
    arguments: &[OsString],
    workspace: &Arc<Workspace>,
    patience: Duration,
) -> Result<Output> {
    let program = find(program)?;
    let mut child = Command::new(&program)
        .args(arguments)
        .env_clear()
        .envs(workspace.environment())
        .current_dir(workspace.path("home"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|error| Error::invalid(format!("{} cannot be run: {error}; {INSTALL}", program.display())))?;
    // Read by tasks of their own, which outlive this future: a helm that is told to stop says so
    // first, and a closed pipe would end it before it marks its release as failed.
    let stdout = tokio::spawn(tail(child.stdout.take(), STDOUT_LIMIT));
    let stderr = tokio::spawn(tail(child.stderr.take(), STDERR_LIMIT));
    let mut group = Group { leader: Some(Leader::new(child)), workspace: workspace.clone() };
    let outcome = timeout(patience, async {
        let status = group.wait().await?;
        let lost = |_| Error::transient("helm's output was lost");
        Ok(Output { status, stdout: stdout.await.map_err(lost)?, stderr: stderr.await.map_err(lost)? })
    })
    .await;
    outcome.unwrap_or_else(|_| {
        Err(Error::transient(format!("helm did not end within {} minutes, and was stopped", patience.as_secs() / 60)))
    })
}

pub(crate) const INSTALL: &str =
    "install Helm 3.14 or newer (https://helm.sh/docs/intro/install/), or set SEATRIAL_HELM to where it is";

/// The program's path. A name without a folder is looked for in our own `PATH`: helm's is another.
fn find(program: &Path) -> Result<PathBuf> {
    let missing =
        || Error::invalid(format!("the program {:?} was not found; {INSTALL}", program.display().to_string()));
    if program.components().count() > 1 {
        return if program.is_file() { Ok(program.to_owned()) } else { Err(missing()) };
    }
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .ok_or_else(missing)
}

/// The last `limit` bytes of a stream, read to its end so that the writer never blocks.
async fn tail(stream: Option<impl AsyncRead + Unpin>, limit: usize) -> String {
    let Some(mut stream) = stream else { return String::new() };
    let mut kept = Vec::new();
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        kept.extend_from_slice(&buffer[..read]);
        if kept.len() > 2 * limit {
            kept.drain(..kept.len() - limit);
        }
    }
    let start = kept.len().saturating_sub(limit);
    String::from_utf8_lossy(&kept[start..]).into_owned()
}

/// The process at the head of a group; the group does not outlive this value.
struct Leader {
    child: Child,
    pid: Option<Pid>,
}

impl Leader {
    fn new(child: Child) -> Self {
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        Self { child, pid }
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid {
            // It may have ended by itself just now.
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// A running group and what it needs until it has ended.
struct Group {
    leader: Option<Leader>,
    workspace: Arc<Workspace>,
}

impl Group {
    async fn wait(&mut self) -> Result<ExitStatus> {
        let failed = |error: std::io::Error| Error::transient(format!("helm's end cannot be awaited: {error}"));
        let Some(leader) = &mut self.leader else { return Err(Error::transient("helm has ended already")) };
        let status = leader.child.wait().await.map_err(failed)?;
        self.leader = None;
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let Some(mut leader) = self.leader.take() else { return };
        leader.signal(Signal::TERM);
        let workspace = self.workspace.clone();
        // Without a runtime, or when it shuts down, dropping the leader kills the group at once.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                let _ = timeout(GRACE, leader.child.wait()).await;
                leader.signal(Signal::KILL);
                let _ = timeout(GRACE, leader.child.wait()).await;
                drop(workspace);
            });
        }
    }
}

#[cfg(test)]
#[path = "process_tests.rs"]
mod tests;
