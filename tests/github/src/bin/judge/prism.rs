//! The proxy: installed by npm when missing, started, and stopped again.

use std::path::{Path, PathBuf};
use std::process::{Command as Blocking, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// It reads a description of 12 MB first.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is installed, pinned.
const PACKAGE: &str = include_str!("../../../judge/package.json");

const DESCRIPTION: &str = "node_modules/@octokit/openapi/generated/api.github.com.json";
const PROGRAM: &str = "node_modules/.bin/prism";

/// A proxy in front of the stand-in.
pub(crate) struct Proxy {
    url: String,
    child: Option<Child>,
}

/// The folder given, or one in the user's cache.
pub(crate) fn folder(given: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(folder) = given {
        return Ok(folder);
    }
    let cache = match std::env::var_os("XDG_CACHE_HOME") {
        Some(cache) => PathBuf::from(cache),
        None => PathBuf::from(std::env::var_os("HOME").context("HOME is not set")?).join(".cache"),
    };
    Ok(cache.join("seatrial/judge"))
}

/// Installs the packages unless this very set of them is there.
pub(crate) fn install(folder: &Path) -> anyhow::Result<()> {
    let stamp = folder.join("installed.json");
    let complete = folder.join(PROGRAM).exists() && folder.join(DESCRIPTION).exists();
    if complete && std::fs::read_to_string(&stamp).is_ok_and(|text| text == PACKAGE) {
        return Ok(());
    }
    eprintln!("installing the judge into {}", folder.display());
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("package.json"), PACKAGE)?;
    let status = Blocking::new("npm")
        .args(["install", "--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(folder)
        .stdin(Stdio::null())
        .status()
        .context("starting npm")?;
    ensure!(status.success(), "npm install ended with {status}");
    std::fs::write(stamp, PACKAGE)?;
    Ok(())
}

impl Proxy {
    /// One that somebody else started.
    pub(crate) fn known(url: &str) -> Self {
        Self { url: url.trim_end_matches('/').to_owned(), child: None }
    }

    /// Starts one and waits until it listens.
    pub(crate) async fn start(folder: &Path, upstream: &str) -> anyhow::Result<Self> {
        // A free port: taken for a moment to learn its number.
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let started = Instant::now();
        let mut child = Command::new(folder.join(PROGRAM))
            .args(["proxy", "--errors", "--host", "127.0.0.1", "--port"])
            .arg(port.to_string())
            .args([DESCRIPTION, upstream])
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .context("starting prism")?;
        let output = child.stdout.take().context("prism has no output")?;
        let mut lines = BufReader::new(output).lines();
        let listening = async {
            let mut seen = String::new();
            while let Some(line) = lines.next_line().await? {
                if line.contains("is listening on") {
                    return Ok(());
                }
                seen.push_str(&line);
                seen.push('\n');
            }
            bail!("prism ended: {seen}")
        };
        tokio::time::timeout(PATIENCE, listening).await.context("prism does not listen")??;
        // Its log must be read, or it stops when the pipe is full.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        eprintln!("the judge listens after {:?}", started.elapsed());
        Ok(Self { url: format!("http://127.0.0.1:{port}"), child: Some(child) })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Stops what was started here.
    pub(crate) async fn stop(mut self) {
        if let Some(child) = &mut self.child
            && let Err(error) = child.kill().await
        {
            eprintln!("prism could not be stopped: {error}");
        }
    }
}
