//! Webhooks: signatures, what deliveries mean, and hostile bodies.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;

use seatrial_forge_github::webhook::{SignatureError, parse, verify};
use seatrial_preview::event::{Awaited, CommandComment, ForgeEvent};
use seatrial_preview::pull_request::{PullRequest, PullRequestState};
use seatrial_preview::{CommentId, ErrorKind, PullRequestRef};
use serde_json::{Value, json};

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn event(payload: &Value) -> ForgeEvent {
    parse("pull_request", payload.to_string().as_bytes()).unwrap()
}

fn deployed(event: ForgeEvent) -> Option<(PullRequest, String)> {
    match event {
        ForgeEvent::Deploy { pull_request, action } => Some((*pull_request, action)),
        _ => None,
    }
}

#[test]
fn only_the_right_sha256_signature_passes() {
    // GitHub's own example: "Validating webhook deliveries".
    let secret = "It's a Secret to Everybody".into();
    let good = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let body = b"Hello, World!";
    assert_eq!(verify(&secret, body, Some(good)), Ok(()));
    assert_eq!(verify(&secret, body, None), Err(SignatureError::Missing));
    assert_eq!(verify(&secret, b"Hello, World?", Some(good)), Err(SignatureError::Wrong));
    assert_eq!(verify(&"other".into(), body, Some(good)), Err(SignatureError::Wrong));
    assert_eq!(verify(&"".into(), body, Some(good)), Err(SignatureError::NoSecret));
    let zeros = format!("sha256={}", "0".repeat(64));
    assert_eq!(verify(&secret, body, Some(&zeros)), Err(SignatureError::Wrong));
    for malformed in [
        "",
        "sha256=",
        "sha256=zz",
        "sha1=757107ea",
        &good[..70],
        &format!("{good}00"),
        &good.replace("sha256", "SHA256"),
        "sha256=é",
    ] {
        assert_eq!(verify(&secret, body, Some(malformed)), Err(SignatureError::Malformed), "{malformed}");
    }
}

#[test]
fn what_asks_for_a_preview() {
    let (pull, action) = deployed(event(&fixture("opened"))).unwrap();
    assert_eq!((action.as_str(), pull.at.to_string().as_str()), ("opened", "harbour/lighthouse#7"));
    assert_eq!((pull.author.as_str(), pull.author_is_bot, pull.draft), ("keeper", false, false));
    assert_eq!((pull.head.branch.as_str(), pull.base.branch.as_str()), ("brighter-lamp", "main"));
    assert_eq!((pull.labels.clone(), pull.is_from_fork()), (vec!["preview".to_owned()], false));
    for action in ["reopened", "synchronize", "ready_for_review", "converted_to_draft", "labeled", "unlabeled"] {
        let mut payload = fixture("opened");
        payload["action"] = json!(action);
        assert_eq!(deployed(event(&payload)).unwrap().1, action);
    }
    let mut payload = fixture("opened");
    payload["action"] = json!("edited");
    payload["changes"] = json!({"title": {"from": "x"}});
    assert!(matches!(event(&payload), ForgeEvent::Ignored { .. }));
    payload["changes"] = json!({"base": {"ref": {"from": "old"}, "sha": {"from": "0"}}});
    assert_eq!(deployed(event(&payload)).unwrap().1, "edited");
}

#[test]
fn a_fork_that_was_deleted_is_a_fork_and_a_bot_a_bot() {
    let (pull, _) = deployed(event(&fixture("deleted_fork_by_bot"))).unwrap();
    assert!(pull.head.repository.is_none() && pull.is_from_fork());
    assert!(pull.author_is_bot);
    let mut payload = fixture("opened");
    payload["pull_request"]["user"] = json!({"login": "renovate[bot]"});
    assert!(deployed(event(&payload)).unwrap().0.author_is_bot);
    payload["pull_request"]["user"] = Value::Null;
    assert_eq!(deployed(event(&payload)).unwrap().0.author, "ghost");
}

#[test]
fn what_removes_and_what_is_ignored() {
    let ForgeEvent::Remove { pull_request, .. } = event(&fixture("merged")) else { panic!("not removed") };
    assert_eq!(pull_request.state, PullRequestState::Merged);
    for action in ["assigned", "locked", "a-new-one", "\u{1b}[31m"] {
        let mut payload = fixture("opened");
        payload["action"] = json!(action);
        let ForgeEvent::Ignored { reason } = event(&payload) else { panic!("{action} is not ignored") };
        assert!(!reason.contains('\u{1b}'));
    }
    for name in ["ping", "push", "", &"x".repeat(10_000)] {
        let ForgeEvent::Ignored { reason } = parse(name, b"{}").unwrap() else { panic!("{name} is not ignored") };
        assert!(reason.len() < 200);
    }
}

const SHA: &str = "3b1f8e0d5c4a79d2e6f0a1b2c3d4e5f60718293a";

fn meaning(event: &str, payload: Value) -> ForgeEvent {
    parse(event, payload.to_string().as_bytes()).unwrap()
}

fn reason(event: ForgeEvent) -> String {
    match event {
        ForgeEvent::Ignored { reason } => reason,
        other => panic!("not ignored: {other:?}"),
    }
}

fn comment(body: &str) -> Value {
    json!({
        "action": "created",
        "issue": { "number": 7, "pull_request": { "url": "https://api.example/pulls/7" } },
        "comment": { "id": 99, "body": body, "user": { "login": "keeper", "type": "User" } },
        "repository": { "full_name": "harbour/lighthouse" },
    })
}

#[test]
fn a_comment_gives_a_command() {
    let event = meaning("issue_comment", comment("Nice.\r\n/preview extend 3d\r\n/preview pin"));
    let at = PullRequestRef { repository: "harbour/lighthouse".parse().unwrap(), number: 7 };
    let line = "/preview extend 3d".to_owned();
    let expected = CommandComment { at, comment: CommentId(99), author: "keeper".to_owned(), line };
    assert_eq!(event, ForgeEvent::Command(expected));
    let ForgeEvent::Command(long) = meaning("issue_comment", comment(&format!("/preview \u{1b}{}", "é".repeat(9999))))
    else {
        panic!("a long line is not a command")
    };
    assert!(long.line.chars().count() == 200 && !long.line.contains('\u{1b}'), "{}", long.line);
}

#[test]
fn comments_that_give_no_command() {
    assert!(reason(meaning("issue_comment", comment("I tried /preview deploy"))).contains("no line"));
    for action in ["edited", "deleted"] {
        let mut payload = comment("/preview deploy");
        payload["action"] = json!(action);
        assert!(reason(meaning("issue_comment", payload)).contains(action));
    }
    let mut issue = comment("/preview deploy");
    issue["issue"].as_object_mut().unwrap().remove("pull_request");
    assert!(reason(meaning("issue_comment", issue)).contains("not on a pull request"));
    for user in [json!({"login": "renovate[bot]"}), json!({"login": "ci", "type": "Bot"})] {
        let mut payload = comment("/preview deploy");
        payload["comment"]["user"] = user;
        assert!(reason(meaning("issue_comment", payload)).contains("bots"));
    }
    let mut ghost = comment("/preview deploy");
    ghost["comment"]["user"] = Value::Null;
    assert!(reason(meaning("issue_comment", ghost)).contains("gone"));
    let at = PullRequestRef { repository: "harbour/lighthouse".parse().unwrap(), number: 7 };
    let own = format!("{}\n/preview deploy", seatrial_preview::comment::marker(&at));
    assert!(reason(meaning("issue_comment", comment(&own))).contains("our own"));
}

#[test]
fn what_has_ended_may_be_waited_for() {
    let repository = json!({ "full_name": "harbour/lighthouse" });
    let expected = ForgeEvent::Arrived {
        repository: "harbour/lighthouse".parse().unwrap(),
        sha: Some(SHA.parse().unwrap()),
        what: Awaited::Check,
    };
    for event in ["check_run", "check_suite", "workflow_run"] {
        let mut payload = json!({ "action": "completed", "repository": repository });
        payload[event] = json!({ "head_sha": SHA, "conclusion": "failure" });
        assert_eq!(meaning(event, payload.clone()), expected);
        payload["action"] = json!("created");
        assert!(reason(meaning(event, payload)).contains("created"));
    }
    let status = |state: &str, context: &str| {
        let payload = json!({ "sha": SHA, "state": state, "context": context, "repository": repository });
        meaning("status", payload)
    };
    for state in ["success", "failure", "error"] {
        assert_eq!(status(state, "build"), expected);
    }
    assert!(reason(status("pending", "build")).contains("pending"));
    assert!(reason(status("success", "seatrial/preview")).contains("our own"));
}

#[test]
fn images_arrive_and_other_packages_do_not() {
    let published = |event: &str, package: Value| {
        let mut payload = json!({ "action": "published", "repository": { "full_name": "harbour/lighthouse" } });
        payload[event] = package;
        payload
    };
    let image =
        ForgeEvent::Arrived { repository: "harbour/lighthouse".parse().unwrap(), sha: None, what: Awaited::Image };
    for event in ["package", "registry_package"] {
        for package in [json!({"package_type": "CONTAINER"}), json!({"ecosystem": "docker"}), json!({})] {
            let mut payload = published(event, package);
            assert_eq!(meaning(event, payload.clone()), image);
            payload["action"] = json!("updated");
            assert_eq!(meaning(event, payload), image);
        }
        let npm = published(event, json!({"package_type": "npm"}));
        assert!(reason(meaning(event, npm)).contains("npm"));
        let mut nowhere = published(event, json!({"package_type": "container"}));
        nowhere["repository"] = Value::Null;
        assert!(reason(meaning(event, nowhere)).contains("no repository"));
    }
}

#[test]
fn a_new_name_of_a_repository() {
    let renamed = |from: &str, to: &str| ForgeEvent::Renamed { from: from.parse().unwrap(), to: to.parse().unwrap() };
    let event = |action: &str, changes: Value| {
        let repository = json!({ "full_name": "harbour/lighthouse" });
        meaning("repository", json!({ "action": action, "changes": changes, "repository": repository }))
    };
    let changes = json!({ "repository": { "name": { "from": "lamp" } } });
    assert_eq!(event("renamed", changes), renamed("harbour/lamp", "harbour/lighthouse"));
    for kind in ["user", "organization"] {
        let mut changes = json!({ "owner": { "from": {} } });
        changes["owner"]["from"][kind] = json!({ "login": "coast" });
        assert_eq!(event("transferred", changes), renamed("coast/lighthouse", "harbour/lighthouse"));
    }
    assert!(reason(event("archived", json!({}))).contains("archived"));
    let hostile = json!({
        "action": "renamed", "repository": { "full_name": "harbour/lighthouse" },
        "changes": { "repository": { "name": { "from": "../../x" } } },
    });
    let error = parse("repository", hostile.to_string().as_bytes()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
}

#[test]
fn what_is_malformed_is_named() {
    let invalid = |event: &str, raw: &[u8]| {
        let error = parse(event, raw).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid);
        assert!(error.message.len() < 1000);
        error.message
    };
    assert!(invalid("pull_request", b"").contains("line 1"));
    assert!(invalid("push", b"{").contains("line 1"));
    assert!(invalid("pull_request", b"payload=%7B%7D").contains("application/json"));
    assert!(invalid("pull_request", b"{}").contains("action"));
    assert!(invalid("pull_request", br#"{"action":"opened"}"#).contains("pull_request"));
    let nothing = br#"{"action":"completed","repository":{"full_name":"a/b"}}"#;
    assert!(invalid("workflow_run", nothing).contains("workflow_run is missing"));
    assert!(invalid("issue_comment", br#"{"action":"created"}"#).contains("issue"));
    assert!(invalid("status", br#"{"sha":"../x"}"#).contains("not a full commit id"));
    let mut payload = fixture("opened");
    payload["pull_request"]["head"]["sha"] = json!("main; rm -rf /");
    assert!(invalid("pull_request", payload.to_string().as_bytes()).contains("not a full commit id"));
    payload = fixture("opened");
    payload["pull_request"]["base"]["repo"]["full_name"] = json!("../../x");
    assert!(invalid("pull_request", payload.to_string().as_bytes()).contains("not a repository"));
    payload = fixture("opened");
    payload["pull_request"]["number"] = json!(-1);
    assert!(invalid("pull_request", payload.to_string().as_bytes()).contains("-1"));
    invalid("pull_request", "[".repeat(100_000).as_bytes());
    invalid("pull_request", &[0xff; 64]);
}

#[test]
fn no_input_makes_it_panic() {
    let names = json!({ "action": "renamed", "repository": { "full_name": "a/b" },
        "changes": { "repository": { "name": { "from": "c" } } } });
    let check =
        json!({ "action": "completed", "check_run": { "head_sha": SHA }, "repository": { "full_name": "a/b" } });
    for (event, good) in [
        ("pull_request", fixture("opened")),
        ("issue_comment", comment("```\n/preview\n```\n/preview deploy é")),
        ("check_run", check),
        ("repository", names),
    ] {
        let good = good.to_string().into_bytes();
        for at in 0..good.len() {
            let _ = parse(event, &good[..at]);
            let mut bent = good.clone();
            for byte in [0, b'"', b'{', 0xff] {
                bent[at] = byte;
                let _ = parse(event, &bent);
            }
        }
    }
}

/// Set `SEATRIAL_WEBHOOK_EXAMPLES` to `api.github.com/index.json` of the npm package
/// `@octokit/webhooks-examples`: real payloads of every event.
#[test]
fn real_payloads_are_understood() {
    let Some(path) = std::env::var_os("SEATRIAL_WEBHOOK_EXAMPLES") else { return };
    let events: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut understood: BTreeMap<String, usize> = BTreeMap::new();
    for event in &events {
        let name = event["name"].as_str().unwrap();
        for example in event["examples"].as_array().unwrap() {
            let outcome = parse(name, example.to_string().as_bytes()).unwrap();
            let kind = match outcome {
                ForgeEvent::Deploy { .. } => "deploy",
                ForgeEvent::Remove { .. } => "remove",
                ForgeEvent::Command(_) => "command",
                ForgeEvent::Arrived { .. } => "arrived",
                ForgeEvent::Renamed { .. } => "renamed",
                ForgeEvent::Ignored { .. } => continue,
            };
            *understood.entry(format!("{name} {kind}")).or_default() += 1;
        }
    }
    for wanted in [
        "pull_request deploy",
        "pull_request remove",
        "check_run arrived",
        "check_suite arrived",
        "workflow_run arrived",
        "status arrived",
        "package arrived",
        "repository renamed",
    ] {
        assert!(understood.contains_key(wanted), "{wanted} in {understood:?}");
    }
}
