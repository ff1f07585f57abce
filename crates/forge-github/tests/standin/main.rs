//! Every operation of the port, over HTTP, against a stateful stand-in for GitHub.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::{Command, Stdio};

use seatrial_forge_github::{Auth, GithubConfig, GithubForge, webhook};
use seatrial_github_standin::{
    Action, Author, CheckView, Control, DEFAULT_LOGIN, DEFAULT_TOKEN, Fault, NewCommit, NewPull, NewRepository,
    Options, Permission, PullView, Standin, StatusView, TokenSpec, files,
};
use seatrial_preview::ports::{
    CheckOutcome, CommitState, CommitStatus, DeploymentState, DeploymentStatus, Forge, NewDeployment, Reaction,
};
use seatrial_preview::pull_request::PullRequestState;
use seatrial_preview::{CommentId, ErrorKind, HeadSha, PullRequestRef, RepositoryName};

mod trouble;

const MARKER: &str = "<!-- seatrial -->";

struct World {
    github: Standin,
    control: Control,
    repository: RepositoryName,
    pull: PullView,
    at: PullRequestRef,
}

async fn world_with(options: Options) -> World {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let github = Standin::start("127.0.0.1:0", options).await.unwrap();
    let control = github.control().unwrap();
    control
        .repository("acme/shop", files([(".seatrial.yaml", "version: 1\n"), ("folder/a b.txt", "text")]))
        .await
        .unwrap();
    let new = NewPull {
        title: "Add a page".into(),
        head: "page".into(),
        files: files([("page.html", "<p>new</p>")]),
        ..NewPull::default()
    };
    let pull = control.open_pull("acme/shop", &new).await.unwrap();
    let repository: RepositoryName = "acme/shop".parse().unwrap();
    let at = PullRequestRef { repository: repository.clone(), number: pull.number };
    World { github, control, repository, pull, at }
}

async fn world() -> World {
    world_with(Options::default()).await
}

impl World {
    fn forge(&self) -> GithubForge {
        self.forge_as(Auth::Token(DEFAULT_TOKEN.into()))
    }

    fn forge_as(&self, auth: Auth) -> GithubForge {
        GithubForge::new(GithubConfig { api_url: self.github.url().parse().unwrap(), auth }).unwrap()
    }

    fn sha(&self) -> HeadSha {
        self.pull.head_sha.parse().unwrap()
    }
}

#[tokio::test]
async fn a_pull_request_is_read() {
    let world = world().await;
    world.control.label("acme/shop", world.at.number, &["preview"]).await.unwrap();
    let pull = world.forge().load_pull_request(&world.at).await.unwrap();
    assert_eq!((pull.at.clone(), pull.title.as_str()), (world.at.clone(), "Add a page"));
    assert_eq!((pull.head.branch.as_str(), &pull.head.sha), ("page", &world.sha()));
    assert_eq!((pull.base.branch.as_str(), pull.state), ("main", PullRequestState::Open));
    assert_eq!(pull.labels, ["preview"]);
    assert!(!pull.is_from_fork() && !pull.author_is_bot && !pull.draft);

    world.control.merge("acme/shop", world.at.number).await.unwrap();
    let pull = world.forge().load_pull_request(&world.at).await.unwrap();
    assert_eq!(pull.state, PullRequestState::Merged);
    let missing = PullRequestRef { number: 4711, ..world.at.clone() };
    let error = world.forge().load_pull_request(&missing).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn open_pull_requests_are_listed_page_by_page() {
    let world = world().await;
    for number in 0..104 {
        let head = format!("b{number}");
        let new = NewPull { title: head.clone(), head, files: files([("a", "b")]), ..NewPull::default() };
        world.control.open_pull("acme/shop", &new).await.unwrap();
    }
    world.control.close("acme/shop", 3).await.unwrap();
    let open = world.forge().list_open_pull_requests(&world.repository).await.unwrap();
    let numbers: Vec<u64> = open.iter().map(|pull| pull.at.number).collect();
    assert_eq!(numbers, (1..=105).filter(|number| *number != 3).collect::<Vec<_>>());
    assert_eq!((&open[0].head.sha, open[0].state), (&world.sha(), PullRequestState::Open));
    let nowhere = "acme/nothing".parse().unwrap();
    let error = world.forge().list_open_pull_requests(&nowhere).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn changed_files_are_listed() {
    let world = world().await;
    let many: Vec<(String, String)> = (0..120).map(|n| (format!("src/{n:03}.txt"), n.to_string())).collect();
    let new = NewCommit { files: files(many), delete: vec!["folder/a b.txt".into()], ..NewCommit::default() };
    world.control.push("acme/shop", world.at.number, &new).await.unwrap();
    let changed = world.forge().list_changed_files(&world.at).await.unwrap();
    assert_eq!(changed.len(), 122);
    for path in ["page.html", "folder/a b.txt", "src/000.txt", "src/119.txt"] {
        assert!(changed.iter().any(|changed| changed == path), "{path} in {changed:?}");
    }
}

#[tokio::test]
async fn repositories_are_those_we_were_given() {
    let (private, public) = key_pair();
    let world = world_with(Options { app_public_key: Some(public), ..Options::default() }).await;
    world.control.repository("zoo/cage", files([("a", "b")])).await.unwrap();
    world.control.fork("acme/shop", "mona").await.unwrap();
    let names = |found: Vec<RepositoryName>| found.iter().map(ToString::to_string).collect::<Vec<_>>();
    let all = ["acme/shop", "mona/shop", "zoo/cage"];
    assert_eq!(names(world.forge().list_repositories().await.unwrap()), all);
    let app = world.forge_as(Auth::App { id: 4242, private_key_pem: private.into() });
    assert_eq!(names(app.list_repositories().await.unwrap()), all);

    let spec = TokenSpec { token: "ghp_mona".into(), login: "mona".into(), permission: None };
    world.control.add_token(&spec).await.unwrap();
    world.control.set_permission("zoo/cage", "mona", Permission::Read).await.unwrap();
    let mona = world.forge_as(Auth::Token("ghp_mona".into()));
    assert_eq!(names(mona.list_repositories().await.unwrap()), ["mona/shop"], "reading is not enough");
    world.control.set_permission("zoo/cage", "mona", Permission::Write).await.unwrap();
    assert_eq!(names(mona.list_repositories().await.unwrap()), ["mona/shop", "zoo/cage"]);
}

#[tokio::test]
async fn checks_and_statuses_of_a_name_are_found() {
    let world = world().await;
    let (forge, control, sha) = (world.forge(), &world.control, world.sha());
    let find = async |name: &str| {
        let found = forge.find_check(&world.repository, &sha, name).await.unwrap();
        found.map(|check| (check.outcome, check.url))
    };
    assert_eq!(find("build").await, None);
    let check = |status: &str, conclusion: Option<&str>| CheckView {
        sha: sha.to_string(),
        name: "build / image (amd64)".into(),
        status: status.into(),
        conclusion: conclusion.map(String::from),
    };
    control.set_check("acme/shop", &check("in_progress", None)).await.unwrap();
    let (outcome, url) = find("build / image (amd64)").await.unwrap();
    assert_eq!(outcome, CheckOutcome::Pending);
    assert!(url.unwrap().starts_with("http://"));
    control.set_check("acme/shop", &check("completed", Some("failure"))).await.unwrap();
    assert_eq!(find("build / image (amd64)").await.unwrap().0, CheckOutcome::Failed);
    assert_eq!(find("build").await, None, "another name");

    for (state, outcome) in [("pending", CheckOutcome::Pending), ("success", CheckOutcome::Succeeded)] {
        let status = StatusView {
            sha: sha.to_string(),
            state: state.into(),
            context: "ci/image".into(),
            description: None,
            target_url: Some("https://ci.example/1".into()),
            creator: String::new(),
        };
        control.set_status("acme/shop", &status).await.unwrap();
        assert_eq!(find("ci/image").await.unwrap(), (outcome, Some("https://ci.example/1".to_owned())));
    }
    // A token that cannot read check runs still finds statuses, and says what it lacks otherwise.
    let refused = Fault::new(Action::Status { code: 403, body: String::new(), headers: BTreeMap::default() });
    control.fault(&refused.clone().containing("/check-runs").times(2)).await.unwrap();
    assert_eq!(find("ci/image").await.unwrap().0, CheckOutcome::Succeeded);
    let error = forge.find_check(&world.repository, &sha, "build").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Forbidden, "{error}");
    assert!(error.message.contains("Checks: read"), "{error}");
}

#[tokio::test]
async fn who_may_write_is_asked_of_github() {
    let world = world().await;
    let (forge, control) = (world.forge(), &world.control);
    for (permission, may) in [
        (Permission::Read, false),
        (Permission::Triage, false),
        (Permission::Write, true),
        (Permission::Maintain, true),
        (Permission::Admin, true),
        (Permission::None, false),
    ] {
        control.set_permission("acme/shop", "mona", permission).await.unwrap();
        assert_eq!(forge.can_write(&world.repository, "mona").await.unwrap(), may, "{permission:?}");
    }
    control.clear_requests().await.unwrap();
    assert!(!forge.can_write(&world.repository, "nobody-at-all").await.unwrap());
    for login in ["", "..", "a/b", "mona/permission?x=", "ü"] {
        assert!(!forge.can_write(&world.repository, login).await.unwrap(), "{login}");
    }
    assert_eq!(control.requests().await.unwrap().len(), 2, "impossible logins are not asked for");
    let error = forge.can_write(&"acme/nothing".parse().unwrap(), "mona").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn a_reaction_is_put_once() {
    let world = world().await;
    let forge = world.forge();
    let said = world.control.comment("acme/shop", 1, &Author::user("mona"), "/preview deploy").await.unwrap();
    for _ in 0..2 {
        forge.react(&world.repository, CommentId(said.id), Reaction::ThumbsUp).await.unwrap();
    }
    forge.react(&world.repository, CommentId(said.id), Reaction::Confused).await.unwrap();
    let comments = world.control.comments("acme/shop", 1).await.unwrap();
    assert_eq!(comments[0].reactions, ["seatrial-bot: +1", "seatrial-bot: confused"]);
    let error = forge.react(&world.repository, CommentId(999_999), Reaction::ThumbsUp).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn files_are_read_and_what_is_missing_is_told_apart() {
    let world = world().await;
    let forge = world.forge();
    let text = forge.find_file(&world.repository, "main", ".seatrial.yaml").await.unwrap();
    assert_eq!(text.as_deref(), Some("version: 1\n"));
    let text = forge.find_file(&world.repository, world.sha().as_str(), "folder/a b.txt").await.unwrap();
    assert_eq!(text.as_deref(), Some("text"));
    assert_eq!(forge.find_file(&world.repository, "main", "missing.yaml").await.unwrap(), None);
    let elsewhere = "acme/nothing".parse().unwrap();
    let error = forge.find_file(&elsewhere, "main", ".seatrial.yaml").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    let error = forge.find_file(&world.repository, "no-such-branch", ".seatrial.yaml").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
    let error = forge.find_file(&world.repository, "main", "folder").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");

    let large = NewRepository {
        owner: "acme".into(),
        name: "large".into(),
        files: files([("large.yaml", "x".repeat(1024 * 1024 + 1).as_str())]),
        ..NewRepository::default()
    };
    world.control.create_repository(&large).await.unwrap();
    let error = forge.find_file(&"acme/large".parse().unwrap(), "main", "large.yaml").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn the_source_is_downloaded_over_the_redirect() {
    let world = world().await;
    let source = world.forge().download_source(&world.repository, &world.sha()).await.unwrap();
    assert_eq!(&source[..2], &[0x1f, 0x8b], "gzip");
    let missing: HeadSha = "0123456789abcdef0123456789abcdef01234567".parse().unwrap();
    let error = world.forge().download_source(&world.repository, &missing).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn our_comment_is_found_among_many_and_edited() {
    let world = world().await;
    let forge = world.forge();
    let stranger = Author::user("mallory");
    world.control.comment("acme/shop", world.at.number, &stranger, MARKER).await.unwrap();
    assert_eq!(forge.find_comments(&world.at, MARKER).await.unwrap(), [], "only our own count");
    for number in 0..120 {
        world.control.comment("acme/shop", world.at.number, &stranger, &format!("comment {number}")).await.unwrap();
    }
    let id = forge.create_comment(&world.at, &format!("{MARKER}\nfirst")).await.unwrap();
    assert_eq!(forge.find_comments(&world.at, MARKER).await.unwrap(), [id]);
    forge.update_comment(&world.repository, id, &format!("{MARKER}\nsecond")).await.unwrap();
    let comments = world.control.comments("acme/shop", world.at.number).await.unwrap();
    assert_eq!(comments.iter().find(|comment| comment.id == id.0).unwrap().body, format!("{MARKER}\nsecond"));
    let error = forge.update_comment(&world.repository, CommentId(999_999), "x").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::NotFound, "{error}");
}

#[tokio::test]
async fn deployments_and_statuses_are_set_once() {
    let world = world().await;
    let forge = world.forge();
    let new = NewDeployment {
        repository: world.repository.clone(),
        sha: world.sha(),
        environment: "pr-shop-1".to_owned(),
        description: "d".repeat(300),
    };
    let id = forge.ensure_deployment(&new).await.unwrap();
    assert_eq!(forge.ensure_deployment(&new).await.unwrap(), id);
    let mut status = DeploymentStatus {
        state: DeploymentState::InProgress,
        description: "s".repeat(300),
        environment_url: None,
        log_url: None,
    };
    forge.set_deployment_status(&world.repository, id, &status).await.unwrap();
    status.state = DeploymentState::Success;
    status.environment_url = Some("http://pr-1-shop.localhost:8081".to_owned());
    forge.set_deployment_status(&world.repository, id, &status).await.unwrap();
    let deployments = world.control.deployments("acme/shop").await.unwrap();
    assert_eq!(deployments.len(), 1);
    assert_eq!((deployments[0].id, deployments[0].state.as_str()), (id.0, "success"));
    assert_eq!(deployments[0].environment_url, status.environment_url);

    status.state = DeploymentState::Inactive;
    status.environment_url = None;
    for _ in 0..2 {
        forge.end_deployments(&world.repository, "pr-shop-1", &status).await.unwrap();
    }
    let deployments = world.control.deployments("acme/shop").await.unwrap();
    assert_eq!(deployments[0].states, ["in_progress", "success", "inactive"]);

    let commit = CommitStatus { state: CommitState::Pending, description: "é".repeat(300), target_url: None };
    forge.set_commit_status(&world.repository, &world.sha(), &commit).await.unwrap();
    let statuses = world.control.statuses("acme/shop").await.unwrap();
    assert_eq!((statuses[0].context.as_str(), statuses[0].state.as_str()), ("seatrial/preview", "pending"));
    assert_eq!(statuses[0].description.as_ref().unwrap().chars().count(), 140);
}

#[tokio::test]
async fn credentials_say_whose_they_are() {
    let (private, public) = key_pair();
    let world = world_with(Options { app_public_key: Some(public), ..Options::default() }).await;
    let forge = world.forge();
    assert_eq!(forge.rate_limit(), None, "nothing was asked yet");
    assert_eq!(forge.load_login().await.unwrap(), DEFAULT_LOGIN);
    let limit = forge.rate_limit().unwrap();
    assert_eq!((limit.limit, limit.remaining), (5000, 4999));

    let app = |id| world.forge_as(Auth::App { id, private_key_pem: private.as_str().into() });
    assert_eq!(app(4242).load_login().await.unwrap(), "seatrial[bot]");
    let error = app(4711).load_login().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Forbidden, "{error}");
    assert!(error.message.contains("the App's id and private key belong together"), "{error}");
}

#[tokio::test]
async fn bad_credentials_say_what_to_check() {
    let world = world().await;
    let error = world.forge_as(Auth::Token("ghp_wrong".into())).load_pull_request(&world.at).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Forbidden, "{error}");
    assert!(error.message.contains("SEATRIAL_GITHUB_TOKEN") && !error.message.contains("ghp_wrong"), "{error}");
    let config =
        |token: &str| GithubConfig { api_url: world.github.url().parse().unwrap(), auth: Auth::Token(token.into()) };
    for token in ["", "with\nnewline", "with space"] {
        assert_eq!(GithubForge::new(config(token)).err().unwrap().kind, ErrorKind::Invalid);
    }
    let app = Auth::App { id: 1, private_key_pem: "no key".into() };
    let config = GithubConfig { api_url: world.github.url().parse().unwrap(), auth: app };
    assert!(GithubForge::new(config).err().unwrap().message.contains("PRIVATE_KEY"));
}

/// A fresh key pair: private and public PEM.
fn key_pair() -> (String, String) {
    let run = |arguments: &[&str], input: &str| {
        let mut child = Command::new("openssl")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.as_bytes()).unwrap();
        let mut output = String::new();
        child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        assert!(child.wait().unwrap().success());
        output
    };
    let private = run(&["genrsa", "-traditional", "2048"], "");
    let public = run(&["rsa", "-pubout"], &private);
    (private, public)
}

#[tokio::test]
async fn a_missing_permission_is_named() {
    let (private, public) = key_pair();
    let world = world_with(Options { app_public_key: Some(public), ..Options::default() }).await;
    let read = ["contents", "metadata", "pull_requests", "issues"].map(|name| (name.to_owned(), "read".to_owned()));
    world.control.set_app_permissions(&read.into_iter().collect()).await.unwrap();
    let forge = world.forge_as(Auth::App { id: 4242, private_key_pem: private.into() });
    let error = forge.create_comment(&world.at, MARKER).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Forbidden, "{error}");
    assert!(error.message.contains("Pull requests: write"), "{error}");
}

#[tokio::test]
async fn a_renamed_repository_is_followed() {
    let world = world().await;
    world.control.rename("acme/shop", "store").await.unwrap();
    let pull = world.forge().load_pull_request(&world.at).await.unwrap();
    assert_eq!(pull.at.repository.to_string(), "acme/store");
    world.forge().create_comment(&world.at, MARKER).await.unwrap();
}

#[test]
fn signatures_of_the_stand_in_are_verified() {
    let body = br#"{"zen":"Keep it simple."}"#;
    let signature = seatrial_github_standin::signature("secret", body);
    assert_eq!(webhook::verify(&"secret".into(), body, Some(&signature)), Ok(()));
}
