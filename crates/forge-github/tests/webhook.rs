//! Webhooks: signatures, what deliveries mean, and hostile bodies.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use seatrial_forge_github::webhook::{SignatureError, parse, verify};
use seatrial_preview::ErrorKind;
use seatrial_preview::event::ForgeEvent;
use seatrial_preview::pull_request::{PullRequest, PullRequestState};
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
    for action in ["reopened", "synchronize", "ready_for_review", "labeled", "unlabeled"] {
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
    for action in ["converted_to_draft", "assigned", "locked", "a-new-one", "\u{1b}[31m"] {
        let mut payload = fixture("opened");
        payload["action"] = json!(action);
        let ForgeEvent::Ignored { reason } = event(&payload) else { panic!("{action} is not ignored") };
        assert!(!reason.contains('\u{1b}'));
    }
    for name in ["ping", "push", "issue_comment", "", &"x".repeat(10_000)] {
        let ForgeEvent::Ignored { reason } = parse(name, b"{}").unwrap() else { panic!("{name} is not ignored") };
        assert!(reason.len() < 200);
    }
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
    let good = fixture("opened").to_string().into_bytes();
    for at in 0..good.len() {
        let _ = parse("pull_request", &good[..at]);
        let mut bent = good.clone();
        for byte in [0, b'"', b'{', 0xff] {
            bent[at] = byte;
            let _ = parse("pull_request", &bent);
        }
    }
}

/// Set `SEATRIAL_WEBHOOK_EXAMPLES` to an `index.json` of the npm package
/// `@octokit/webhooks-examples`: real payloads of every event.
#[test]
fn real_payloads_are_understood() {
    let Some(path) = std::env::var_os("SEATRIAL_WEBHOOK_EXAMPLES") else { return };
    let events: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut deployed = 0;
    for event in &events {
        let name = event["name"].as_str().unwrap();
        for example in event["examples"].as_array().unwrap() {
            let outcome = parse(name, example.to_string().as_bytes()).unwrap();
            deployed += usize::from(matches!(outcome, ForgeEvent::Deploy { .. }));
        }
    }
    assert!(deployed >= 10, "{deployed}");
}
