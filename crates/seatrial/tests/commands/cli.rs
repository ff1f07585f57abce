//! What the API does, from the command line: on the database itself, and over a server.

use std::process::Output;

use seatrial_github_standin::{Options, Standin};
use serde_json::Value;

use crate::serving::Serving;
use crate::{Place, assert_says};

impl Place {
    /// Standard output of a command that succeeds.
    pub fn done(&self, arguments: &[&str]) -> String {
        let Output { status, stdout, stderr } = self.run(arguments);
        assert!(status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&stderr));
        String::from_utf8(stdout).unwrap()
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--json"]).collect();
        serde_json::from_str(&self.done(&arguments)).unwrap()
    }

    /// What a command that fails says, without panicking.
    pub fn refused(&self, arguments: &[&str]) -> String {
        let Output { status, stderr, .. } = self.run(arguments);
        let said = String::from_utf8(stderr).unwrap();
        assert_eq!(status.code(), Some(1), "{arguments:?}: {said}");
        assert!(!said.contains("panicked"), "{said}");
        said
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_commands_work_on_the_database() {
    let github = Standin::start("127.0.0.1:0", Options::default()).await.unwrap();
    github.control().unwrap().user("ada").await.unwrap();
    let mut place = Place::new();
    place.set("SEATRIAL_GITHUB_API_URL", github.url());

    assert_says(&place.done(&["team", "create", "payments"]), &["Team payments is made", "seatrial project add"]);
    place.done(&["project", "add", "acme/shop", "--team", "payments", "--max-previews", "5"]);
    assert_says(&place.done(&["project", "list"]), &["REPOSITORY", "acme/shop   payments  5"]);
    assert_says(&place.done(&["project", "change", "acme/shop", "--max-previews", "0"]), &["acme/shop"]);
    assert_eq!(place.json(&["project", "get", "acme/shop"])["max_previews"], Value::Null);
    assert_says(&place.done(&["team", "add", "payments", "ada", "--role", "maintainer"]), &["ada is maintainer"]);
    assert_says(&place.refused(&["team", "add", "payments", "nobody"]), &["nobody on GitHub has the login \"nobody\""]);
    assert_says(&place.done(&["team", "members", "payments"]), &["LOGIN", "ada", "maintainer"]);

    // Only the value is on standard output.
    let value = place.done(&["token", "create", "ci", "--scope", "deploy", "--team", "payments", "--expires", "90d"]);
    assert!(value.starts_with("seatrial_") && value.lines().count() == 1, "{value}");
    let tokens = place.json(&["token", "list"]);
    assert_eq!((&tokens[0]["name"], &tokens[0]["scope"]), (&"ci".into(), &"deploy".into()));
    let id = tokens[0]["id"].as_str().unwrap();
    assert_says(&place.done(&["token", "revoke", id]), &["ci is revoked"]);
    assert_says(&place.done(&["token", "list"]), &["revoked"]);

    assert_says(&place.done(&["preview", "list"]), &["There are no previews."]);
    assert_says(&place.refused(&["preview", "get", "pr-shop-7"]), &["there is no preview pr-shop-7"]);
    assert_says(&place.refused(&["preview", "deploy", "acme/shop#7"]), &["acme/shop#7"]);
    assert_says(&place.refused(&["team", "create", "Bad_Name"]), &["\"Bad_Name\" is not a team's name: write 1 to 40"]);
    assert_says(&place.refused(&["project", "get", "shop"]), &["write it as owner/name"]);
    assert_says(&place.refused(&["run", "show", "x"]), &["\"x\" is not the id of a run"]);
    assert_says(&place.done(&["audit", "list"]), &["team.create", "token.revoke", "at the command line", "cli"]);
    assert_says(&place.done(&["whoami"]), &["an operator"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_server_a_token_decides() {
    let mut place = Place::new();
    place.done(&["team", "create", "payments"]);
    let value = place.done(&["token", "create", "ci", "--scope", "read", "--team", "payments"]);
    let serving = Serving::start(place.command(&["serve"]));
    place.set("SEATRIAL_SERVER", &serving.url);
    assert_says(&place.done(&["whoami"]), &["operator"]);
    place.set("SEATRIAL_TOKEN", value.trim());
    assert_says(&place.done(&["whoami"]), &["token ci of team payments", "viewer of team payments"]);
    assert_eq!(place.json(&["team", "list"])[0]["name"], "payments");
    assert_says(&place.refused(&["team", "create", "search"]), &["making a team is for operators"]);
    assert_says(&place.refused(&["project", "get", "acme/shop"]), &["acme/shop is no project of yours"]);
    place.set("SEATRIAL_TOKEN", "wrong");
    assert_says(&place.refused(&["preview", "list"]), &["the token is not valid", "seatrial token create"]);
    let said = serving.end();
    assert!(!said.contains(value.trim()), "{said}");
    assert_says(&place.refused(&["preview", "list"]), &[&place.variables["SEATRIAL_SERVER"], "cannot be asked"]);
}

#[test]
fn the_first_start_prints_a_link_that_works_once() {
    let mut place = Place::new();
    place.variables.remove("SEATRIAL_BOOTSTRAP_TOKEN");
    let said = Serving::start(place.command(&["serve"])).end();
    assert_says(&said, &["Nobody can administer this Seatrial yet", "/setup?code="]);
    // A token that somebody at the machine makes is as good.
    place.done(&["token", "create", "me", "--scope", "admin"]);
    let said = Serving::start(place.command(&["serve"])).end();
    assert!(!said.contains("/setup"), "{said}");

    place.set("SEATRIAL_BOOTSTRAP_TOKEN", "short");
    assert_says(&place.refused(&["serve"]), &["SEATRIAL_BOOTSTRAP_TOKEN cannot be used", "could be guessed"]);
}

#[test]
fn api_and_worker_run_apart() {
    let place = Place::new();
    let worker = Serving::start(place.command(&["worker"]));
    assert_eq!(worker.url, "", "a worker serves nothing");
    let api = Serving::start(place.command(&["api"]));
    assert!(api.url.starts_with("http://127.0.0.1:"));
    assert!(!api.end().contains("worker"));
    worker.end();
}

#[test]
fn help_and_completions_teach() {
    let place = Place::new();
    for command in ["preview", "run", "project", "team", "operator", "token", "delivery", "audit"] {
        let output = place.run(&[command, "--help"]);
        assert!(output.status.success());
        assert_says(&String::from_utf8(output.stdout).unwrap(), &["list", "--json", "--server"]);
    }
    for shell in ["bash", "zsh", "fish"] {
        assert_says(&place.done(&["completions", shell]), &["seatrial", "preview"]);
    }
}
