//! Folders to work in, which nothing outlives: neither files nor processes, not even when the
//! program itself was killed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use seatrial_preview::{Error, Result};
use secrecy::{ExposeSecret, SecretString};
use serde_yaml_ng::Value;
use tempfile::TempDir;
use tokio::sync::OwnedMutexGuard;
use url::Url;

const PREFIX: &str = "helm-";

/// This process's part of the work folder. Locked while the process lives, so that whoever
/// comes later can tell what a killed one left behind.
pub(crate) struct Instance {
    folder: TempDir,
    _lock: File,
}

impl Instance {
    /// Makes the folder, after ending and removing what killed processes left in `work_dir`: a
    /// helm that goes on alone would disturb the one that takes up its work.
    pub(crate) fn new(work_dir: &Path) -> Result<Self> {
        let failed = |error: io::Error| {
            Error::invalid(format!("the work folder {} cannot be used: {error}; make it writable", work_dir.display()))
        };
        fs::create_dir_all(work_dir).map_err(failed)?;
        let work_dir = &work_dir.canonicalize().map_err(failed)?;
        // One at a time: a folder that was made is locked before another looks at it.
        let gate = File::create(work_dir.join(".lock")).map_err(failed)?;
        gate.lock().map_err(failed)?;
        sweep(work_dir).map_err(failed)?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(work_dir).map_err(failed)?;
        let lock = File::create(folder.path().join("lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        Ok(Self { folder, _lock: lock })
    }
}

/// Ends the processes, and removes the folders, of instances that are no more.
fn sweep(work_dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(work_dir)? {
        let entry = entry?;
        if !entry.file_name().as_bytes().starts_with(PREFIX.as_bytes()) || !entry.file_type()?.is_dir() {
            continue;
        }
        let folder = entry.path();
        let dead = match File::open(folder.join("lock")) {
            Ok(lock) => lock.try_lock().is_ok(),
            // Killed between the folder and its lock.
            Err(_) => true,
        };
        if dead {
            let ended = end_processes_of(&folder);
            if ended > 0 {
                tracing::warn!(ended, "ended helm processes that a killed process had left");
            }
            if let Err(error) = fs::remove_dir_all(&folder) {
                tracing::warn!(folder = %folder.display(), %error, "what a killed process left cannot be removed");
            }
        }
    }
    Ok(())
}

/// Ends every process whose `HOME` lies in the folder, and says how many there were. Linux only:
/// elsewhere there is no `/proc`, and nothing is ended.
fn end_processes_of(folder: &Path) -> usize {
    let mut home = b"HOME=".to_vec();
    home.extend_from_slice(folder.as_os_str().as_bytes());
    home.push(b'/');
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    processes
        .flatten()
        .filter_map(|process| {
            let pid: i32 = process.file_name().to_str()?.parse().ok()?;
            let environment = fs::read(process.path().join("environ")).ok()?;
            let ours = environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(&home));
            let pid = rustix::process::Pid::from_raw(pid).filter(|_| ours)?;
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok()
        })
        .count()
}

/// One operation's folder. Removed when the operation and its processes have ended; until then
/// no other operation on the same release begins.
pub(crate) struct Workspace {
    folder: TempDir,
    /// The API servers of the kubeconfig.
    servers: String,
    _instance: Arc<Instance>,
    _turn: Option<OwnedMutexGuard<()>>,
}

impl Workspace {
    pub(crate) fn new(instance: &Arc<Instance>, turn: Option<OwnedMutexGuard<()>>) -> io::Result<Self> {
        let folder = TempDir::new_in(instance.folder.path())?;
        for name in ["home", "cache", "config", "data", "plugins", "tmp", "tree", "chart", "values"] {
            fs::create_dir(folder.path().join(name))?;
        }
        Ok(Self { folder, servers: String::new(), _instance: instance.clone(), _turn: turn })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write_kubeconfig(&mut self, access: &SecretString) -> io::Result<()> {
        self.servers = servers(access);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.path("kubeconfig"))?;
        file.write_all(access.expose_secret().as_bytes())
    }

    /// All that helm sees of the environment.
    pub(crate) fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        vec![
            ("PATH", PathBuf::from("/usr/local/bin:/usr/bin:/bin")),
            ("HOME", self.path("home")),
            ("TMPDIR", self.path("tmp")),
            ("KUBECONFIG", self.path("kubeconfig")),
            ("HELM_CACHE_HOME", self.path("cache")),
            ("HELM_CONFIG_HOME", self.path("config")),
            ("HELM_DATA_HOME", self.path("data")),
            ("HELM_PLUGINS", self.path("plugins")),
            ("NO_COLOR", PathBuf::from("1")),
            // Helm has no business with any address but the API server's: everything else is sent to
            // a proxy that is not there. (Go makes an exception for loopback addresses.)
            ("HTTP_PROXY", PathBuf::from(NOWHERE)),
            ("HTTPS_PROXY", PathBuf::from(NOWHERE)),
            ("NO_PROXY", PathBuf::from(&self.servers)),
        ]
    }
}

/// The discard port, where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:9";

/// The hosts of the kubeconfig's API servers, as `NO_PROXY` has them.
fn servers(access: &SecretString) -> String {
    let document: Value = serde_yaml_ng::from_str(access.expose_secret()).unwrap_or_default();
    let clusters = document.get("clusters").and_then(Value::as_sequence).into_iter().flatten();
    let hosts = clusters.filter_map(|cluster| {
        let url: Url = cluster.get("cluster")?.get("server")?.as_str()?.parse().ok()?;
        // Addresses of IPv6 stand without their brackets.
        Some(url.host_str()?.trim_matches(['[', ']']).to_owned())
    });
    hosts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn helm_is_left_the_way_to_the_api_servers() {
        let access =
            |server: &str| SecretString::from(format!("clusters: [{{name: c, cluster: {{server: {server:?}}}}}]"));
        for (server, host) in [
            ("https://api.example.com:6443", "api.example.com"),
            ("https://10.96.0.1", "10.96.0.1"),
            ("https://[fd00::1]:6443/k8s/clusters/c-1", "fd00::1"),
        ] {
            assert_eq!(servers(&access(server)), host);
        }
        assert_eq!(servers(&SecretString::from("not: a kubeconfig")), "");
        assert_eq!(servers(&SecretString::from(": [")), "");
    }

    #[test]
    fn what_a_killed_process_left_is_ended_and_removed() {
        let work_dir = tempfile::tempdir().unwrap();
        let living = Instance::new(work_dir.path()).unwrap();
        let left = work_dir.path().canonicalize().unwrap().join("helm-left");
        fs::create_dir_all(left.join("op/home")).unwrap();
        File::create(left.join("lock")).unwrap();
        let sleep =
            |home: PathBuf| Command::new("sleep").arg("60").env("HOME", home).stdin(Stdio::null()).spawn().unwrap();
        let mut orphan = sleep(left.join("op/home"));
        let mut other = sleep(living.folder.path().join("op/home"));

        let next = Instance::new(work_dir.path()).unwrap();

        let begun = Instant::now();
        while orphan.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(5), "the orphan lives");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(other.try_wait().unwrap().is_none(), "a living instance's process was ended");
        other.kill().unwrap();
        other.wait().unwrap();
        assert!(!left.exists());
        assert!(living.folder.path().exists() && next.folder.path().exists());
    }
}
