//! Every endpoint, answered well and refused as documented.

use serde_json::{Value, json};

use crate::world::World;

/// Who makes a call.
#[derive(Clone, Copy)]
pub(crate) enum Who {
    Nobody,
    User,
    Admin,
    App,
    Installation,
    Stranger,
}

/// A call and the status it should be answered with.
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Option<Value>,
    pub(crate) who: Who,
    pub(crate) status: u16,
    /// A field that the description gets wrong.
    pub(crate) excused: Option<&'static str>,
}

impl Call {
    pub(crate) fn name(&self) -> String {
        format!("{} {} → {}", self.method, self.path, self.status)
    }

    fn by(mut self, who: Who) -> Self {
        self.who = who;
        self
    }

    fn excusing(mut self, field: &'static str) -> Self {
        self.excused = Some(field);
        self
    }

    fn gives(mut self, status: u16) -> Self {
        self.status = status;
        self
    }
}

fn call(method: &'static str, path: impl Into<String>, body: Option<Value>, status: u16) -> Call {
    Call { method, path: path.into(), body, who: Who::User, status, excused: None }
}

fn get(path: impl Into<String>) -> Call {
    call("GET", path, None, 200)
}

fn post(path: impl Into<String>, body: Value) -> Call {
    call("POST", path, Some(body), 201)
}

fn patch(path: impl Into<String>, body: Value) -> Call {
    call("PATCH", path, Some(body), 200)
}

fn delete(path: impl Into<String>) -> Call {
    call("DELETE", path, None, 204)
}

/// All calls in the order they are made; those that remove things come last.
pub(crate) fn all(world: &World) -> Vec<Call> {
    let mut calls = repositories(world);
    calls.extend(pulls());
    calls.extend(comments(world));
    calls.extend(statuses(world));
    calls.extend(deployments(world));
    calls.extend(apps(world));
    calls.extend(deliveries(world));
    calls
}

const R: &str = "/repos/acme/shop";

fn repositories(world: &World) -> Vec<Call> {
    let head = &world.head;
    vec![
        get(R),
        get(R).by(Who::Nobody),
        get(R).by(Who::Installation),
        get("/repos/mona/shop"),
        get("/repos/acme/none").gives(404),
        get(format!("{R}/contents/README.md")),
        get(format!("{R}/contents/chart?ref=page")),
        get(format!("{R}/contents/none.txt")).gives(404),
        get(format!("{R}/commits")),
        get(format!("{R}/commits/{head}")),
        get(format!("{R}/commits/main")),
        get(format!("{R}/commits/none")).gives(422),
        get(format!("{R}/branches")),
        get(format!("{R}/branches/main")),
        get(format!("{R}/branches/none")).gives(404),
        get(format!("{R}/git/ref/heads%2Fmain")),
        get(format!("{R}/git/ref/heads%2Fnone")).gives(404),
        get(format!("{R}/collaborators/mona/permission")),
        get(format!("{R}/collaborators/octocat/permission")),
        get(format!("{R}/collaborators/none/permission")).gives(404),
        get("/user"),
        get("/user").by(Who::Nobody).gives(401),
        get("/user").by(Who::Stranger).gives(401),
        get("/user").by(Who::Installation).gives(403),
        get("/user/repos"),
        get("/user/repos?per_page=1&page=2"),
        get("/user/repos").by(Who::Nobody).gives(401),
        get("/users/mona"),
        get("/users/none").gives(404),
        get("/rate_limit"),
    ]
}

fn pulls() -> Vec<Call> {
    vec![
        get(format!("{R}/pulls")),
        get(format!("{R}/pulls?state=all&per_page=1&page=2")),
        get(format!("{R}/pulls?state=closed&sort=updated&direction=desc")),
        get(format!("{R}/pulls/1")),
        get(format!("{R}/pulls/2")),
        get(format!("{R}/pulls/3")),
        get(format!("{R}/pulls/99")).gives(404),
        get(format!("{R}/pulls/1/files")),
        get(format!("{R}/pulls/1/commits")),
        get(format!("{R}/issues/1")),
        patch(format!("{R}/pulls/1"), json!({ "title": "Add one page" })),
        patch(format!("{R}/pulls/1"), json!({ "base": "none" })).gives(422),
        patch(format!("{R}/pulls/2"), json!({ "state": "closed" })),
        get(format!("{R}/issues/1/labels")),
        post(format!("{R}/issues/1/labels"), json!({ "labels": ["one", "two"] })).gives(200),
        delete(format!("{R}/issues/1/labels/one")).gives(200),
        delete(format!("{R}/issues/1/labels/none")).gives(404),
        delete(format!("{R}/issues/1/labels")),
    ]
}

fn comments(world: &World) -> Vec<Call> {
    let one = format!("{R}/issues/comments/{}", world.comment);
    let spare = format!("{R}/issues/comments/{}", world.spare_comment);
    vec![
        get(format!("{R}/issues/1/comments")),
        get(format!("{R}/issues/1/comments?per_page=1&page=1")),
        get(format!("{R}/issues/99/comments")).gives(404),
        get(format!("{R}/issues/comments")),
        post(format!("{R}/issues/1/comments"), json!({ "body": "Hello" })),
        post(format!("{R}/issues/1/comments"), json!({ "body": "Hello" })).by(Who::Installation),
        post(format!("{R}/issues/1/comments"), json!({ "body": "x".repeat(65_537) })).gives(422),
        post(format!("{R}/issues/1/comments"), json!({ "body": "" })).gives(422),
        post(format!("{R}/issues/99/comments"), json!({ "body": "Hello" })).gives(404),
        get(&one),
        get(format!("{R}/issues/comments/1")).gives(404),
        patch(&one, json!({ "body": "Preview **gone**" })),
        patch(&one, json!({ "body": "" })).gives(422),
        get(format!("{one}/reactions")),
        post(format!("{one}/reactions"), json!({ "content": "rocket" })),
        post(format!("{one}/reactions"), json!({ "content": "rocket" })).gives(200),
        delete(format!("{one}/reactions/{}", world.reaction)),
        delete(spare),
    ]
}

fn statuses(world: &World) -> Vec<Call> {
    let head = &world.head;
    let checks = format!("{R}/check-runs");
    let run = format!("{checks}/{}", world.check);
    let done = json!({
        "status": "completed", "conclusion": "success",
        "output": { "title": "Ready", "summary": "In 40 s" },
    });
    vec![
        post(
            format!("{R}/statuses/{head}"),
            json!({
                "state": "pending", "context": "seatrial/preview", "description": "Deploying",
                "target_url": "http://localhost/previews/1",
            }),
        ),
        post(format!("{R}/statuses/{head}"), json!({ "state": "error" })),
        get(format!("{R}/commits/{head}/status")),
        get(format!("{R}/commits/{head}/statuses")),
        get(format!("{R}/commits/main/status")),
        post(&checks, json!({ "name": "seatrial", "head_sha": head })).by(Who::Installation),
        patch(&run, done).by(Who::Installation),
        get(&run),
        get(format!("{R}/commits/{head}/check-runs")),
        get(format!("{R}/commits/{head}/check-runs?filter=all&per_page=1")),
    ]
}

fn deployments(world: &World) -> Vec<Call> {
    let list = format!("{R}/deployments");
    let one = format!("{list}/{}", world.deployment);
    let new = |reference: &str| {
        json!({
            "ref": reference, "environment": "preview", "required_contexts": [],
            "auto_merge": false, "transient_environment": true, "payload": { "pull": 1 },
            "description": "Preview of #1",
        })
    };
    vec![
        get(&list),
        get(format!("{list}?environment=preview&per_page=1")),
        post(&list, new("page")),
        post(&list, new("none")).gives(422),
        post(&list, json!({ "ref": "page", "required_contexts": [] })).gives(202),
        get(&one),
        get(format!("{list}/1")).gives(404),
        get(format!("{one}/statuses")),
        get(format!("{one}/statuses/{}", world.deployment_status)),
        post(
            format!("{one}/statuses"),
            json!({
                "state": "in_progress", "description": "Deploying",
                "log_url": "http://localhost/runs/1", "environment_url": "http://pr-1.localhost/",
            }),
        ),
        post(format!("{one}/statuses"), json!({ "state": "success", "description": "x".repeat(141) })).gives(422),
        // Without addresses GitHub answers empty ones, which its own description forbids.
        post(
            format!("{one}/statuses"),
            json!({
                "state": "success", "log_url": "http://localhost/runs/1",
                "environment_url": "http://pr-1.localhost/",
            }),
        ),
        delete(&one).gives(422),
        delete(format!("{list}/{}", world.spare_deployment)),
        delete(format!("{list}/1")).gives(404),
    ]
}

fn apps(world: &World) -> Vec<Call> {
    let one = format!("/app/installations/{}", world.installation);
    let tokens = format!("{one}/access_tokens");
    vec![
        get("/app").by(Who::App),
        // In this list alone the account is described as a user and an enterprise at once.
        get("/app/installations").by(Who::App).excusing("account"),
        get(&one).by(Who::App),
        get("/app/installations/1").by(Who::App).gives(404),
        get(format!("{R}/installation")).by(Who::App),
        get("/orgs/acme/installation").by(Who::App),
        get("/users/mona/installation").by(Who::App),
        call("POST", &tokens, None, 201).by(Who::App),
        post(&tokens, json!({ "repositories": ["shop"], "permissions": { "issues": "write" } })).by(Who::App),
        post(&tokens, json!({ "permissions": { "administration": "write" } })).by(Who::App).gives(422),
        post(&tokens, json!({})).by(Who::User).gives(401),
        get("/installation/repositories").by(Who::Installation),
        get("/installation/repositories").by(Who::User).gives(403),
    ]
}

fn deliveries(world: &World) -> Vec<Call> {
    let app = "/app/hook/deliveries";
    let hooks = format!("{R}/hooks");
    let hook = format!("{hooks}/501");
    let (one, attempts) = (format!("{app}/{}", world.delivery), format!("{app}/{}/attempts", world.delivery));
    vec![
        get("/app/hook/config").by(Who::App),
        get(app).by(Who::App),
        get(format!("{app}?per_page=1")).by(Who::App),
        get(one).by(Who::App),
        call("POST", attempts, None, 202).by(Who::App),
        get(&hooks).by(Who::Admin),
        get(&hook).by(Who::Admin),
        get(&hook).gives(404),
        get(format!("{hook}/deliveries")).by(Who::Admin),
        get(format!("{hook}/deliveries/{}", world.delivery)).by(Who::Admin),
        call("POST", format!("{hook}/deliveries/{}/attempts", world.delivery), None, 202).by(Who::Admin),
        call("POST", format!("{hook}/pings"), None, 204).by(Who::Admin),
    ]
}
