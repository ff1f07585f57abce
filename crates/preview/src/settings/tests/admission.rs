//! Who gets a preview.

use super::*;
use crate::ids::RepositoryName;
use crate::pull_request::{Base, Head, PullRequest, PullRequestState};

fn pull_request() -> PullRequest {
    let repository: RepositoryName = "acme/shop".parse().unwrap();
    PullRequest {
        at: crate::PullRequestRef { repository: repository.clone(), number: 12 },
        title: "A title".to_owned(),
        author: "octocat".to_owned(),
        author_is_bot: false,
        draft: false,
        state: PullRequestState::Open,
        head: Head { sha: "a".repeat(40).parse().unwrap(), branch: "fix".to_owned(), repository: Some(repository) },
        base: Base { branch: "main".to_owned(), sha: "b".repeat(40).parse().unwrap() },
        labels: vec!["Preview".to_owned(), "bug".to_owned()],
        html_url: "https://github.com/acme/shop/pull/12".to_owned(),
    }
}

#[test]
fn admission() {
    type Change = fn(&mut PullRequest);
    let refuse = Admission::Refuse;
    let strings = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
    let unchanged: Change = |_| {};
    let cases: Vec<(&str, Change, Admission)> = vec![
        ("{}", unchanged, Admission::Deploy),
        ("{}", |pr| pr.draft = true, refuse(Refusal::Draft)),
        ("{drafts: true}", |pr| pr.draft = true, Admission::Deploy),
        ("{}", |pr| pr.author_is_bot = true, Admission::Deploy),
        ("{bots: false}", |pr| pr.author_is_bot = true, refuse(Refusal::Bot)),
        ("{bots: false}", unchanged, Admission::Deploy),
        ("{}", |pr| pr.head.repository = None, refuse(Refusal::Fork)),
        ("{}", |pr| pr.head.repository = Some("eve/shop".parse().unwrap()), refuse(Refusal::Fork)),
        ("{drafts: true, labels: [preview]}", |pr| pr.head.repository = None, refuse(Refusal::Fork)),
        ("{}", |pr| pr.state = PullRequestState::Closed, refuse(Refusal::Closed)),
        ("{}", |pr| pr.state = PullRequestState::Merged, refuse(Refusal::Closed)),
        ("{labels: [preview]}", unchanged, Admission::Deploy),
        ("{labels: [x, BUG]}", unchanged, Admission::Deploy),
        ("{labels: [demo]}", unchanged, refuse(Refusal::MissingLabel { wanted: strings(&["demo"]) })),
        ("{labels: [demo]}", |pr| pr.labels.clear(), refuse(Refusal::MissingLabel { wanted: strings(&["demo"]) })),
        ("{ignoreLabels: [preview]}", unchanged, refuse(Refusal::IgnoredLabel { label: "Preview".to_owned() })),
        (
            "{labels: [preview], ignoreLabels: [bug]}",
            unchanged,
            refuse(Refusal::IgnoredLabel { label: "bug".to_owned() }),
        ),
        ("{baseBranches: [main, next]}", unchanged, Admission::Deploy),
        (
            "{baseBranches: [Main]}",
            unchanged,
            refuse(Refusal::BaseBranch { base: "main".to_owned(), allowed: strings(&["Main"]) }),
        ),
    ];
    for (filters, change, expected) in cases {
        let mut pull_request = pull_request();
        change(&mut pull_request);
        let settings = ok(&format!("version: 1\nfilters: {filters}"));
        assert_eq!(admit(&pull_request, &settings, false), expected, "{filters} {pull_request:?}");
    }
}
