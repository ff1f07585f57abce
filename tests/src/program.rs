//! The program under test, as a process that can be ended at any moment and started again.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use crate::{ASK_EVERY, SECRET, Setting, ports};

/// The operator's token of every program that tests start.
pub const TOKEN: &str = "a-token-for-operators";

/// How long a start may take on a machine that is busy with other things.
const START: Duration = Duration::from_secs(60);

/// One Seatrial with its own database.
pub struct Program {
    executable: PathBuf,
    settings: Vec<(String, String)>,
    log: PathBuf,
    port: u16,
    gateway_port: u16,
    child: Option<Child>,
    http: reqwest::Client,
}

/// What a program is started with.
pub(crate) struct Parts<'a> {
    pub(crate) setting: &'a Setting,
    /// Its database, its log and its work are here.
    pub(crate) folder: &'a Path,
    pub(crate) kubeconfig: &'a Path,
    pub(crate) github_url: &'a str,
    pub(crate) github_token: &'a str,
    /// The gateway's port; any that is free when it is not given.
    pub(crate) gateway_port: Option<u16>,
    pub(crate) port: Option<u16>,
    pub(crate) http: reqwest::Client,
}

impl Program {
    pub(crate) fn new(parts: Parts<'_>) -> Result<Self> {
        let pick = |wanted: Option<u16>| match wanted {
            Some(port) if ports::is_free(port) => Ok(port),
            _ => ports::free(),
        };
        let (port, gateway_port) = (pick(parts.port)?, pick(parts.gateway_port)?);
        let text = |path: &Path| path.display().to_string();
        // Named, so that no file of the folder that tests run in is read.
        let config = parts.folder.join("seatrial.toml");
        std::fs::write(&config, "")?;
        let settings = [
            ("HOME", text(parts.folder)),
            ("TMPDIR", text(parts.folder)),
            ("PATH", std::env::var("PATH").unwrap_or_default()),
            ("KUBECONFIG", text(parts.kubeconfig)),
            ("RUST_BACKTRACE", "1".to_owned()),
            ("SEATRIAL_CONFIG", text(&config)),
            ("SEATRIAL_DATABASE_URL", format!("sqlite://{}", text(&parts.folder.join("seatrial.db")))),
            ("SEATRIAL_WORK_DIR", text(&parts.folder.join("work"))),
            ("SEATRIAL_LISTEN", format!("127.0.0.1:{port}")),
            ("SEATRIAL_GATEWAY_LISTEN", format!("127.0.0.1:{gateway_port}")),
            ("SEATRIAL_PUBLIC_URL", format!("http://127.0.0.1:{port}")),
            ("SEATRIAL_PREVIEW_URL", format!("http://pr-{{number}}-{{repo}}.localhost:{gateway_port}")),
            ("SEATRIAL_GITHUB_API_URL", parts.github_url.to_owned()),
            ("SEATRIAL_GITHUB_TOKEN", parts.github_token.to_owned()),
            ("SEATRIAL_GITHUB_WEBHOOK_SECRET", SECRET.to_owned()),
            ("SEATRIAL_BOOTSTRAP_TOKEN", TOKEN.to_owned()),
            ("SEATRIAL_HELM", text(&parts.setting.helm)),
            ("SEATRIAL_REGISTRY_PRIVATE_HOSTS", parts.setting.registry.clone()),
            ("SEATRIAL_REGISTRY_HTTP_HOSTS", parts.setting.registry.clone()),
            ("SEATRIAL_LOG", "info,seatrial=debug".to_owned()),
        ];
        Ok(Self {
            executable: parts.setting.program.clone(),
            settings: settings.map(|(name, value)| (name.to_owned(), value)).to_vec(),
            log: parts.folder.join("seatrial.log"),
            port,
            gateway_port,
            child: None,
            http: parts.http,
        })
    }

    /// Where it is reached: the same after every start.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn gateway_port(&self) -> u16 {
        self.gateway_port
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    pub(crate) fn database_url(&self) -> String {
        self.setting("SEATRIAL_DATABASE_URL")
    }

    pub(crate) fn preview_url(&self) -> String {
        self.setting("SEATRIAL_PREVIEW_URL")
    }

    fn setting(&self, name: &str) -> String {
        self.settings.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    /// Changes an environment variable for the next start.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
    }

    /// Starts it and waits until it is ready.
    pub async fn start(&mut self) -> Result<()> {
        ensure!(self.child.is_none(), "the program runs already");
        let log = OpenOptions::new().create(true).append(true).open(&self.log)?;
        let child = Command::new(&self.executable)
            .arg("serve")
            .env_clear()
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(File::try_clone(&log)?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {}", self.executable.display()))?;
        self.child = Some(child);
        let ready = format!("{}/readyz", self.url());
        let deadline = Instant::now() + START;
        loop {
            self.check_alive()?;
            match self.http.get(&ready).send().await {
                Ok(answer) if answer.status().is_success() => return Ok(()),
                _ if Instant::now() > deadline => {
                    bail!("the program was not ready within {START:?}; its log ends: {}", self.last_words())
                }
                _ => sleep(ASK_EVERY).await,
            }
        }
    }

    /// An error if it ended by itself, or was never started.
    pub fn check_alive(&mut self) -> Result<()> {
        let Some(child) = &mut self.child else { bail!("the program does not run") };
        if let Some(status) = child.try_wait()? {
            self.child = None;
            bail!("the program ended by itself ({status}); its log ends: {}", self.last_words());
        }
        Ok(())
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else { bail!("the program does not run") };
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM; waits until it has ended.
    pub async fn terminate(&mut self, patience: Duration) -> Result<ExitStatus> {
        let Some(child) = &mut self.child else { bail!("the program does not run") };
        kill_process(Pid::from_child(child), Signal::TERM)?;
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = child.try_wait()? {
                self.child = None;
                return Ok(status);
            }
            ensure!(Instant::now() < deadline, "the program did not end within {patience:?} of SIGTERM");
            sleep(ASK_EVERY).await;
        }
    }

    fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        format!("\n{}", lines[lines.len().saturating_sub(15)..].join("\n"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        if self.child.is_some() {
            // It may have ended in this very moment.
            let _ = self.kill();
        }
    }
}
