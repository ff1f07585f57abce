use insta::assert_snapshot;

use super::*;
use crate::failure::Reason;
use crate::ports::CommitState;

fn view(state: CommentState) -> CommentView {
    CommentView {
        at: PullRequestRef { repository: "acme/shop".parse().unwrap(), number: 12 },
        sha: Some(sha('a')),
        admin_url: Some("http://127.0.0.1:8080/previews/1".to_owned()),
        updated_at: "2026-03-04T05:06:07Z".parse().unwrap(),
        state,
        notices: Vec::new(),
    }
}

fn sha(digit: char) -> HeadSha {
    digit.to_string().repeat(40).parse().unwrap()
}

fn step(name: &str, state: StepLineState, took: Option<u64>) -> StepLine {
    StepLine { name: name.to_owned(), state, took: took.map(Duration::from_millis) }
}

fn steps() -> Vec<StepLine> {
    vec![
        step("namespace", StepLineState::Done, Some(420)),
        step("release", StepLineState::Done, Some(7_300)),
        step("rollout", StepLineState::Running, Some(64_000)),
        step("health", StepLineState::Pending, None),
    ]
}

fn failure(culprit: &str, summary: &str, advice: &str, evidence: Vec<(&str, &str)>) -> CommentState {
    CommentState::Failed {
        step: "rollout".to_owned(),
        diagnosis: Diagnosis {
            reason: Reason::ContainerCrash,
            culprit: culprit.to_owned(),
            summary: summary.to_owned(),
            advice: advice.to_owned(),
            evidence: evidence
                .into_iter()
                .map(|(title, text)| Evidence { title: title.to_owned(), text: text.to_owned() })
                .collect(),
        },
        steps: vec![
            step("release", StepLineState::Done, Some(7_300)),
            step("rollout", StepLineState::Failed, Some(3_700_000)),
            step("health", StepLineState::Skipped, None),
        ],
    }
}

fn crash() -> CommentState {
    failure(
        "container \"web\" of pod \"shop-7d9f\"",
        "The container exits with code 1 right after its start (3 restarts).",
        "Read its last lines below; the application stops by itself.",
        vec![("Last log lines of web", "listening on :8080\npanic: no DATABASE_URL"), ("Events", "BackOff x3")],
    )
}

fn receipt() -> Receipt {
    Receipt {
        namespace: "pr-shop-12".parse().unwrap(),
        trigger: "closed".to_owned(),
        removed: vec!["Deployment/shop".to_owned(), "Service/shop".to_owned()],
        release_uninstalled: true,
        verified_gone_at: "2026-03-04T05:06:00Z".parse().unwrap(),
        took_ms: 12_400,
    }
}

/// Every state with the name of its snapshot.
fn states() -> Vec<(&'static str, CommentState)> {
    let url = "http://pr-12-shop.localhost:8081".to_owned();
    let refused = |refusal| CommentState::Refused { refusal };
    vec![
        ("nothing", CommentState::Nothing),
        ("queued", CommentState::Queued { position: 3, wait: Some(Duration::from_secs(230)) }),
        ("queued_next", CommentState::Queued { position: 1, wait: None }),
        ("sleeping", CommentState::Sleeping { url: url.clone(), since: "2026-03-04T03:00:00Z".parse().unwrap() }),
        (
            "deploying",
            CommentState::Deploying {
                steps: steps(),
                progress: Some("web 1/2".to_owned()),
                previous: Some((sha('b'), url.clone())),
            },
        ),
        ("deploying_begun", CommentState::Deploying { steps: Vec::new(), progress: None, previous: None }),
        (
            "ready",
            CommentState::Ready {
                url,
                took: Duration::from_secs(72),
                steps: steps(),
                notes: vec!["A release left pending was recovered.".to_owned()],
            },
        ),
        ("failed", crash()),
        ("refused_draft", refused(Refusal::Draft)),
        ("refused_fork", refused(Refusal::Fork)),
        ("refused_bot", refused(Refusal::Bot)),
        ("refused_missing_label", refused(Refusal::MissingLabel { wanted: vec!["preview".to_owned()] })),
        (
            "refused_missing_labels",
            refused(Refusal::MissingLabel { wanted: vec!["preview".to_owned(), "demo".to_owned()] }),
        ),
        ("refused_ignored_label", refused(Refusal::IgnoredLabel { label: "no-preview".to_owned() })),
        (
            "refused_base_branch",
            refused(Refusal::BaseBranch { base: "old".to_owned(), allowed: vec!["main".to_owned()] }),
        ),
        ("refused_closed", refused(Refusal::Closed)),
        ("refused_unconfigured", refused(Refusal::Unconfigured)),
        (
            "unconfigured",
            CommentState::Unconfigured { docs_url: Some("https://docs.example/seatrial-yaml".to_owned()) },
        ),
        ("deleting", CommentState::Deleting { steps: vec![step("uninstall", StepLineState::Running, None)] }),
        ("deleted", CommentState::Deleted { receipt: receipt() }),
        (
            "deleted_without_release",
            CommentState::Deleted { receipt: Receipt { removed: Vec::new(), release_uninstalled: false, ..receipt() } },
        ),
    ]
}

#[test]
fn every_state_has_its_words() {
    for (name, state) in states() {
        assert_snapshot!(name, render(&view(state)));
    }
}

#[test]
fn statuses() {
    let lines: Vec<String> = states()
        .iter()
        .map(|(name, state)| {
            let commit = commit_status(state);
            let deployment = deployment_status(state, Some("http://preview"), Some("http://admin"))
                .map(|d| format!("{:?}: {} ({:?})", d.state, d.description, d.environment_url));
            format!(
                "{name}\n  commit {:?}: {} ({:?})\n  deployment {}",
                commit.state,
                commit.description,
                commit.target_url,
                deployment.unwrap_or_else(|| "unchanged".to_owned())
            )
        })
        .collect();
    assert_snapshot!(lines.join("\n"));
}

#[test]
fn one_status_sign_at_most_and_the_marker_first() {
    for (name, state) in states() {
        let text = render(&view(state));
        assert!(text.starts_with("<!-- seatrial:preview acme/shop#12 -->\n"), "{name}");
        assert!(text.matches(['✅', '❌', '⏳']).count() <= 1, "{name}");
    }
}

#[test]
fn markers_of_two_pull_requests_never_contain_each_other() {
    let of = |number| marker(&PullRequestRef { repository: "acme/shop".parse().unwrap(), number });
    assert!(!of(12).contains(&of(1)));
}

const NASTY: &str = "@octocat #1 [a](http://evil.example) ![i](http://evil.example/i.png) <img src=x onerror=y> </details> `x` ``` \u{202e}rtl\u{0}";

#[test]
fn hostile_text_stays_text() {
    let state = failure(
        NASTY,
        &format!("{NASTY}\n\n# A heading\n- a list"),
        NASTY,
        vec![(NASTY, "```\n@octocat </details> <script>\n``````\n\u{1b}[31mred\u{1b}[0m \u{202e}rtl")],
    );
    assert_snapshot!("hostile", render(&view(state)));
}

#[test]
fn hostile_text_mentions_nobody_in_any_state() {
    let nasty = || NASTY.to_owned();
    let nasty_steps = || vec![StepLine { name: nasty(), state: StepLineState::Running, took: None }];
    let states = [
        CommentState::Deploying { steps: nasty_steps(), progress: Some(nasty()), previous: Some((sha('b'), nasty())) },
        CommentState::Ready { url: nasty(), took: Duration::from_secs(1), steps: nasty_steps(), notes: vec![nasty()] },
        failure(NASTY, NASTY, NASTY, vec![(NASTY, NASTY)]),
        CommentState::Refused { refusal: Refusal::MissingLabel { wanted: vec![nasty()] } },
        CommentState::Refused { refusal: Refusal::IgnoredLabel { label: nasty() } },
        CommentState::Refused { refusal: Refusal::BaseBranch { base: nasty(), allowed: vec![nasty()] } },
        CommentState::Unconfigured { docs_url: Some(nasty()) },
        CommentState::Deleting { steps: nasty_steps() },
        CommentState::Deleted { receipt: Receipt { removed: vec![nasty()], ..receipt() } },
    ];
    for state in states {
        let text = render(&view(state));
        let prose = without_code(&text);
        for forbidden in ["@octocat", "](http://evil", "<img", "http://evil", "#1 "] {
            assert!(!prose.contains(forbidden), "{forbidden} in:\n{text}");
        }
        assert!(!text.contains(['\u{202e}', '\0']), "{text}");
        assert_eq!(prose.matches("<details>").count(), prose.matches("</details>").count(), "{text}");
    }
}

/// What is left when code spans and fenced blocks are taken out as CommonMark delimits them.
fn without_code(text: &str) -> String {
    let mut out = String::new();
    let mut fence: Option<String> = None;
    for line in text.lines() {
        let ticks: String = line.chars().take_while(|c| *c == '`').collect();
        match &fence {
            Some(open) if ticks.len() >= open.len() && line.len() == ticks.len() => fence = None,
            Some(_) => {}
            None if ticks.len() >= 3 && !line[ticks.len()..].contains('`') => fence = Some(ticks),
            None => {
                out.push_str(&without_spans(line));
                out.push('\n');
            }
        }
    }
    out
}

fn without_spans(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(['`', '\\']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('\\') {
            let end = rest.chars().take(2).map(char::len_utf8).sum();
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let ticks: String = rest.chars().take_while(|c| *c == '`').collect();
        let inside = &rest[ticks.len()..];
        let mut from = 0;
        let end = loop {
            let Some(found) = inside[from..].find('`').map(|i| i + from) else { break None };
            let run = inside[found..].chars().take_while(|c| *c == '`').count();
            if run == ticks.len() {
                break Some(found + run);
            }
            from = found + run;
        };
        match end {
            Some(end) => rest = &inside[end..],
            None => {
                out.push_str(&ticks);
                rest = inside;
            }
        }
    }
    out.push_str(rest);
    out
}

/// Below GitHub's 65 536 characters.
const MAX_BYTES: usize = 60_000;

#[test]
fn never_too_long() {
    for filler in ["&", "`", "@", "\n", "é", "word ", "\\", "\"", "<"] {
        let long = filler.repeat(100_000 / filler.len());
        let many: Vec<(&str, &str)> = (0..300).map(|_| (long.as_str(), long.as_str())).collect();
        let CommentState::Failed { diagnosis, .. } = failure(&long, &long, &long, many) else { unreachable!() };
        let steps: Vec<StepLine> = (0..500).map(|_| step(&long, StepLineState::Failed, Some(1))).collect();
        let names: Vec<String> = vec![long.clone(); 500];
        let states = [
            CommentState::Failed { step: long.clone(), diagnosis, steps: steps.clone() },
            CommentState::Ready { url: long.clone(), took: Duration::MAX, steps: steps.clone(), notes: names.clone() },
            CommentState::Deploying { steps, progress: Some(long.clone()), previous: None },
            CommentState::Refused { refusal: Refusal::MissingLabel { wanted: names.clone() } },
            CommentState::Deleted { receipt: Receipt { removed: names, ..receipt() } },
        ];
        for state in states {
            let text = render(&view(state.clone()));
            assert!(text.len() <= MAX_BYTES, "{filler:?}: {} bytes", text.len());
            assert!(commit_status(&state).description.chars().count() <= DESCRIPTION_MAX);
            let deployment = deployment_status(&state, None, None);
            assert!(deployment.is_none_or(|d| d.description.chars().count() <= DESCRIPTION_MAX));
        }
    }
}

#[test]
fn left_out_evidence_is_said() {
    let log = (0..20_000).map(|n| format!("line {n}\n")).collect::<String>();
    let text = render(&view(failure("c", "s", "a", vec![("Log", &log)])));
    assert!(text.contains("line 0\n") && text.contains("line 19999\n"), "both ends are kept");
    assert!(text.contains("bytes left out"));
    let many: Vec<(&str, &str)> = (0..2000).map(|_| ("Log", "some text that takes a bit of room")).collect();
    assert!(render(&view(failure("c", "s", "a", many))).contains("more pieces of evidence had no room here."));
}

#[test]
fn a_refusal_is_no_failure_of_the_commit() {
    let status = commit_status(&CommentState::Refused { refusal: Refusal::Draft });
    assert_eq!(status.state, CommitState::Success);
}

#[test]
fn the_view_survives_the_journal() {
    for (name, state) in states() {
        let view = view(state);
        let text = serde_json::to_string(&view).unwrap();
        assert_eq!(serde_json::from_str::<CommentView>(&text).unwrap(), view, "{name}");
    }
}

#[test]
fn the_example_for_newcomers_is_accepted() {
    let text = render(&view(CommentState::Unconfigured { docs_url: None }));
    let example = text.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    crate::settings::parse(example).unwrap();
    assert!(!text.contains("What else it can say"), "there is nothing to link to: {text}");
}

#[test]
fn notices_follow_what_the_comment_says() {
    let answer = |line: &str, outcome| Notice::Answer { by: "@evil".to_owned(), line: line.to_owned(), outcome };
    let at = "2026-03-05T05:00:00Z".parse().unwrap();
    let text = render(&CommentView {
        notices: vec![
            Notice::WillBeDeleted { at },
            answer("/preview extend 3d", Ok(Answer::KeptUntil { at })),
            answer("/preview @all `x`", Err("There is no command \"@all\"; <b>try</b> `deploy`.".to_owned())),
            answer(
                "/preview logs",
                Ok(Answer::Logs { pod: "web-1".to_owned(), text: "```\n@team\n</details>".to_owned() }),
            ),
        ],
        ..view(CommentState::Nothing)
    });
    assert_snapshot!("notices", text);
}
