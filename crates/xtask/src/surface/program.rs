//! The real program and the stand-in for GitHub, with a database of their own and no cluster.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::progress::step;
use crate::shell::wait_until;
use crate::workspace::{self, Profile};

/// Neither is found in the program's log.
const TOKEN: &str = "the-token-of-an-operator";
const SECRET: &str = "the-secret-of-the-webhook";

const START: Duration = Duration::from_secs(60);

/// Runs until it is dropped.
pub struct Program {
    url: String,
    github: Process,
    seatrial: Process,
}

impl Program {
    pub fn start(folder: &Path) -> Result<Self> {
        step("start the program", || Self::start_in(folder))
    }

    fn start_in(folder: &Path) -> Result<Self> {
        // The port is free now; whoever takes it before the program does makes the start fail.
        let listen = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?;
        let url = format!("http://{listen}");
        let mut github = Command::new(workspace::program(Profile::Debug, "seatrial-github-standin")?);
        github.args(["--webhook-url", &format!("{url}/api/webhooks/github"), "--webhook-secret", SECRET]);
        let github = Process::start(folder, "github", &mut github)?;

        // Nobody listens there.
        let cluster = json!({
            "clusters": [{ "name": "nowhere", "cluster": { "server": "http://127.0.0.1:1" } }],
            "contexts": [{ "name": "nowhere", "context": { "cluster": "nowhere", "user": "nobody" } }],
            "users": [{ "name": "nobody", "user": {} }],
            "current-context": "nowhere",
        });
        let kubeconfig = folder.join("kubeconfig");
        fs::write(&kubeconfig, cluster.to_string())?;
        let mut seatrial = Command::new(workspace::program(Profile::Debug, "seatrial")?);
        seatrial
            .arg("serve")
            .env_clear()
            .env("HOME", folder)
            .env("KUBECONFIG", kubeconfig)
            .env("SEATRIAL_WORK_DIR", folder.join("work"))
            .env("SEATRIAL_HELM", "/nonexistent")
            .env("SEATRIAL_LISTEN", listen.to_string())
            .env("SEATRIAL_GATEWAY_LISTEN", "127.0.0.1:0")
            .env("SEATRIAL_PUBLIC_URL", &url)
            // A tool that says where its requests come from is believed.
            .env("SEATRIAL_TRUSTED_PROXIES", "127.0.0.1/32")
            .env("SEATRIAL_GITHUB_API_URL", field(&github.said, "url")?)
            .env("SEATRIAL_GITHUB_TOKEN", field(&github.said, "token")?)
            .env("SEATRIAL_GITHUB_WEBHOOK_SECRET", SECRET)
            .env("SEATRIAL_BOOTSTRAP_TOKEN", TOKEN)
            .env("SEATRIAL_LOG", "info,seatrial=debug")
            .env("SEATRIAL_LOG_FORMAT", "json");
        let seatrial = Process::start(folder, "seatrial", &mut seatrial)?;
        Ok(Self { url, github, seatrial })
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// What the tools are told, as environment variables.
    pub fn whereabouts(&self) -> [(&str, &str); 4] {
        [
            ("SEATRIAL_TEST_URL", &self.url),
            ("SEATRIAL_TEST_TOKEN", TOKEN),
            ("SEATRIAL_TEST_SECRET", SECRET),
            ("SEATRIAL_TEST_GITHUB", self.github.said["url"].as_str().unwrap_or_default()),
        ]
    }

    /// Whatever was sent to it, the program did not panic, found no fault in itself, and kept its
    /// secrets.
    pub fn check_log(&self) -> Result<()> {
        let log = fs::read_to_string(&self.seatrial.log)?;
        ensure!(log.lines().count() > 100, "there is next to nothing in {}", self.seatrial.log.display());
        let faults: Vec<&str> = log.lines().filter(|line| is_fault(line)).take(10).collect();
        ensure!(faults.is_empty(), "faults in {}:\n{}", self.seatrial.log.display(), faults.join("\n"));
        for (secret, what) in [(TOKEN, "token"), (SECRET, "webhook's secret")] {
            ensure!(!log.contains(secret), "the {what} is in {}", self.seatrial.log.display());
        }
        Ok(())
    }
}

/// What is not JSON was not logged but written by a panic.
fn is_fault(line: &str) -> bool {
    let Ok(entry) = serde_json::from_str::<Value>(line) else { return true };
    // The library's word for a cluster that is not there, which the program says as a warning.
    let expected = entry["target"].as_str().is_some_and(|target| target.starts_with("kube_client"));
    entry["level"] == "ERROR" && !expected
}

fn field<'a>(said: &'a Value, name: &str) -> Result<&'a str> {
    said[name].as_str().with_context(|| format!("the program says {said}, without {name}"))
}

/// A program that says on one line of JSON that it is ready.
struct Process {
    child: Child,
    said: Value,
    log: PathBuf,
}

impl Process {
    fn start(folder: &Path, name: &str, command: &mut Command) -> Result<Self> {
        let (said, log) = (folder.join(format!("{name}.json")), folder.join(format!("{name}.log")));
        command.current_dir(folder).stdin(Stdio::null()).stdout(File::create(&said)?).stderr(File::create(&log)?);
        let child = command.spawn().with_context(|| format!("cannot run {}", command.get_program().display()))?;
        let mut process = Self { child, said: Value::Null, log };
        let ready = wait_until(&format!("{name} is ready"), START, || {
            let text = fs::read_to_string(&said).unwrap_or_default();
            process.said = serde_json::from_str(&text).unwrap_or_default();
            process.said.is_object() || process.child.try_wait().is_ok_and(|ended| ended.is_some())
        });
        let log = || fs::read_to_string(&process.log).unwrap_or_default();
        ready.with_context(log)?;
        ensure!(process.said.is_object(), "{name} ended by itself: {}", log().trim());
        Ok(process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended in this very moment.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
