//! The program's commands, as whoever sets it up sees them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod cli;
mod secrets;
mod serving;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use seatrial_github_standin::{DEFAULT_TOKEN, Options, Standin};

/// How long a thing that must come is waited for before the test fails.
const LIMIT: Duration = Duration::from_secs(60);
/// Nobody listens there.
const NOWHERE: &str = "127.0.0.1:1";

/// A folder to run the program in, with nothing of the caller's environment.
struct Place {
    folder: tempfile::TempDir,
    variables: BTreeMap<&'static str, String>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let cluster = serde_json::json!({
            "clusters": [{ "name": "nowhere", "cluster": { "server": format!("http://{NOWHERE}") } }],
            "contexts": [{ "name": "nowhere", "context": { "cluster": "nowhere", "user": "nobody" } }],
            "users": [{ "name": "nobody", "user": {} }],
        });
        fs::write(&kubeconfig, cluster.to_string()).unwrap();
        let variables = BTreeMap::from([
            ("PATH", "/usr/bin:/bin".to_owned()),
            ("KUBECONFIG", kubeconfig.display().to_string()),
            ("SEATRIAL_KUBE_CONTEXT", "nowhere".to_owned()),
            ("SEATRIAL_WORK_DIR", folder.path().join("work").display().to_string()),
            ("SEATRIAL_LISTEN", "127.0.0.1:0".to_owned()),
            ("SEATRIAL_GATEWAY_LISTEN", "127.0.0.1:0".to_owned()),
            ("SEATRIAL_GITHUB_API_URL", format!("http://{NOWHERE}")),
            ("SEATRIAL_GITHUB_TOKEN", DEFAULT_TOKEN.to_owned()),
            ("SEATRIAL_GITHUB_WEBHOOK_SECRET", "secret".to_owned()),
            ("SEATRIAL_BOOTSTRAP_TOKEN", "the operator's token".to_owned()),
        ]);
        let mut place = Self { folder, variables };
        place.helm("v3.14.0+g1234567");
        place
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.variables.insert(name, value.to_owned());
    }

    /// A script in helm's place that says it has this version.
    fn helm(&mut self, version: &str) {
        let path = self.folder.path().join("helm");
        fs::write(&path, format!("#!/bin/sh\necho '{version}'\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self.set("SEATRIAL_HELM", path.to_str().unwrap());
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_seatrial"));
        command.args(arguments).env_clear().envs(&self.variables).current_dir(self.folder.path()).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What `doctor` says under each heading.
    fn doctor(&self) -> BTreeMap<String, String> {
        let output = self.run(&["doctor"]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.success(), !text.contains("WRONG"), "{}\n{text}", output.status);
        let lines = text.lines().map(|line| {
            let (heading, found) = line[6..].split_once(": ").unwrap();
            (heading.to_owned(), format!("{}{found}", &line[..6]))
        });
        lines.collect()
    }
}

#[track_caller]
fn assert_says(found: &str, parts: &[&str]) {
    for part in parts {
        assert!(found.contains(part), "{part:?} is missing in: {found}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn doctor_asks_github() {
    let github = Standin::start("127.0.0.1:0", Options::default()).await.unwrap();
    let mut place = Place::new();
    place.set("SEATRIAL_GITHUB_API_URL", github.url());
    let found = place.doctor();
    assert_says(&found["github"], &["ok ", github.url(), "as seatrial-bot", "4999 of 5000 requests are left until "]);

    place.set("SEATRIAL_GITHUB_TOKEN", "ghp_revoked");
    let found = place.doctor();
    assert_says(&found["github"], &["WRONG ", github.url(), "401", "SEATRIAL_GITHUB_TOKEN has not expired"]);
    assert!(!found["github"].contains("ghp_revoked"), "{}", found["github"]);

    github.stop().await.unwrap();
    assert_says(&place.doctor()["github"], &["WRONG ", "could not be reached"]);
}

#[test]
fn doctor_tells_each_thing_under_its_own_heading() {
    let mut place = Place::new();
    let found = place.doctor();
    let headings: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(headings, ["access", "database", "github", "helm", "kubernetes", "preview URL", "secrets", "webhook"]);
    assert_says(&found["database"], &["ok ", "sqlite://seatrial.db"]);
    assert_says(&found["helm"], &["ok ", "v3.14.0+g1234567"]);
    assert_says(&found["preview URL"], &["ok ", "http://pr-{number}-{repo}.localhost:8081"]);
    assert_says(&found["kubernetes"], &["WRONG "]);
    assert_says(&found["access"], &["ok ", "SEATRIAL_BOOTSTRAP_TOKEN is set"]);
    place.set("SEATRIAL_BOOTSTRAP_TOKEN", "zz");
    assert_says(&place.doctor()["access"], &["WRONG ", "SEATRIAL_BOOTSTRAP_TOKEN", "2 characters", "openssl rand"]);
    place.variables.remove("SEATRIAL_BOOTSTRAP_TOKEN");
    assert_says(&place.doctor()["access"], &["ok ", "there is no operator yet", "setup link"]);

    place.helm("v3.13.3+gc8b9489");
    place.set("SEATRIAL_PREVIEW_URL", "http://preview.localhost");
    let found = place.doctor();
    assert_says(&found["helm"], &["WRONG ", "helm is Helm v3.13.3+gc8b9489", "Helm 3.14 or newer", "SEATRIAL_HELM"]);
    assert_says(&found["preview URL"], &["WRONG ", "SEATRIAL_PREVIEW_URL cannot be used", "{number} and {repo}"]);
    assert_says(&found["database"], &["ok "]);

    place.variables.remove("SEATRIAL_PREVIEW_URL");
    fs::write(place.folder.path().join("seatrial.toml"), "preview_url = 'preview.localhost'").unwrap();
    assert_says(&place.doctor()["preview URL"], &["WRONG ", "preview_url in seatrial.toml cannot be used"]);
}

#[test]
fn serve_warns_of_a_helm_that_is_too_old() {
    let mut place = Place::new();
    place.helm("v3.13.3+gc8b9489");
    let mut child = place.command(&["serve"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let (lines, said) = mpsc::channel();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let reader = thread::spawn(move || {
        let mut all = String::new();
        for line in stderr.lines().map_while(Result::ok) {
            all += &line;
            all += "\n";
            if line.contains("which is too old") {
                let _ = lines.send(line);
            }
        }
        all
    });
    let warning = said.recv_timeout(LIMIT);
    let alive = child.try_wait().unwrap().is_none();
    let _ = child.kill();
    child.wait().unwrap();
    let all = reader.join().unwrap();
    assert_says(&warning.unwrap_or_else(|_| panic!("no warning: {all}")), &["WARN", "v3.13.3", "Helm 3.14 or newer"]);
    assert!(alive, "it ended by itself: {all}");
}

#[test]
fn a_settings_file_that_is_named_must_exist() {
    let mut place = Place::new();
    assert!(place.run(&["migrate"]).status.success(), "seatrial.toml need not exist");
    let refused = |output: Output| {
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert_says(&refused(place.run(&["--config", "shop.toml", "migrate"])), &["shop.toml does not exist", "--config"]);
    place.set("SEATRIAL_CONFIG", "other.toml");
    assert_says(&refused(place.run(&["migrate"])), &["other.toml does not exist", "SEATRIAL_CONFIG"]);

    fs::write(place.folder.path().join("other.toml"), "listn = '127.0.0.1:1'").unwrap();
    assert_says(&refused(place.run(&["migrate"])), &["listn in other.toml is not a setting; did you mean listen?"]);
}
