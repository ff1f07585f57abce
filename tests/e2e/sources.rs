//! Where charts come from, and what they are given.

use anyhow::{Context, Result, ensure};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{ResourceQuota, Secret};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::{Api, ResourceExt};
use seatrial_github_standin::{Author, NewPull, Permission};
use seatrial_tests::{Change, Options, PATIENCE, World, until};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_of_a_registry_is_deployed_and_pinned_by_digest() -> Result<()> {
    World::tell_with("oci", Options { unconfigured: true, ..Options::default() }, async |world| {
        // Of this world alone: another may publish at the same time.
        let name = world.repository.replace('/', "-");
        let reference = world.publish_chart(&name, "1.2.3", &[("colour", "first"), ("hangSeconds", "2")]).await?;
        let settings = |version: &str| {
            format!(
                "version: 1\nchart: {{ oci: {reference}, version: {version} }}\nimage: {{ repository: \"{{image}}\" }}\n\
                 values: {{ number: \"{{number}}\" }}\nhealth: {{ path: /healthz }}\n"
            )
        };
        world.set_settings(&settings("1.2.3")).await?;
        let pull = world.open_pull("page", Change::page("page")).await?;
        let n = pull.number;
        // The version is published again before Helm's work is killed and repeated: what was pinned
        // is what is deployed.
        world.wait_step(n, "preview_up", "namespace").await?;
        world.program.kill()?;
        world.publish_chart(&name, "1.2.3", &[("colour", "second")]).await?;
        world.restart().await?;
        world.wait_ready(n, &pull.sha).await?;
        world.check_live(n, &pull.sha).await?;
        let page = world.visit(n, "/").await?;
        ensure!(page.body.contains("first"), "another chart than the pinned one was deployed: {page:?}");

        // A new deployment pins anew.
        let pushed = world.push(&pull, Change::page("next")).await?;
        world.wait_ready(n, &pushed).await?;
        let page = world.visit(n, "/").await?;
        ensure!(page.body.contains("second"), "the chart as it is now was not taken: {page:?}");

        world.set_settings(&settings("9.9.9")).await?;
        world.push(&pull, Change::page("missing")).await?;
        world.wait_comment(n, &["Preview failed at configure", &name, "9.9.9"], PATIENCE).await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repository_without_a_chart_is_deployed_with_ours() -> Result<()> {
    World::tell_with("builtin", Options { unconfigured: true, ..Options::default() }, async |world| {
        world
            .set_settings(
                "version: 1\nimage: { repository: \"{image}\" }\nvalues: { env: { SHA: \"{sha}\", COLOUR: ours } }\n\
                 health: { path: /healthz }\n",
            )
            .await?;
        let pull = world.open_pull("page", Change::page("page")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        world.check_live(n, &pull.sha).await?;
        ensure!(world.visit(n, "/").await?.body.contains("ours"), "the values were not given");
        world.close(&pull).await?;
        world.wait_receipt(n).await?;
        world.check_gone(n).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn secrets_are_copied_for_a_branch_and_never_for_a_fork() -> Result<()> {
    World::tell_with("secrets", Options { unconfigured: true, ..Options::default() }, async |world| {
        let source = format!("{}-source", world.namespace(0));
        world.make_foreign_namespace(&source, &[]).await?;
        let mut secret = Secret::default();
        secret.metadata.name = Some("credentials".to_owned());
        secret.data = Some([("password".to_owned(), ByteString(b"anchor".to_vec()))].into());
        secrets_of(world, &source).create(&PostParams::default(), &secret).await?;
        grant(world, &source, "credentials").await?;
        world
            .set_settings(&format!(
                "version: 1\nchart: {{ path: chart }}\nimage: {{ repository: \"{{image}}\" }}\n\
                 secrets: [{{ from: {source}/credentials }}]\n"
            ))
            .await?;
        let pull = world.open_pull("branch", Change::page("branch")).await?;
        world.wait_ready(pull.number, &pull.sha).await?;
        let copy = secrets_of(world, &world.namespace(pull.number)).get("credentials").await?;
        let password = copy.data.unwrap_or_default().remove("password").map(|bytes| bytes.0);
        ensure!(password.as_deref() == Some(b"anchor"), "the copy holds {password:?}");

        world.control.set_permission(&world.repository, "ada", Permission::Write).await?;
        let fork = world.control.fork(&world.repository, "stranger").await?;
        let new = NewPull {
            title: "From a fork".to_owned(),
            author: Author::user("stranger"),
            head_repository: Some(format!("{}/{}", fork.owner, fork.name)),
            head: "theirs".to_owned(),
            files: Change::page("theirs").into(),
            ..NewPull::default()
        };
        let theirs = world.control.open_pull(&world.repository, &new).await?;
        world.publish_image(&theirs.head_sha).await?;
        world.wait_comment(theirs.number, &["comes from a fork"], PATIENCE).await?;
        let order = format!("/preview approve {}", theirs.head_sha);
        world.control.comment(&world.repository, theirs.number, &Author::user("ada"), &order).await?;
        world.wait_ready(theirs.number, &theirs.head_sha).await?;
        let copy = secrets_of(world, &world.namespace(theirs.number)).get_opt("credentials").await?;
        ensure!(copy.is_none(), "a fork's preview was given the secret");
        Ok(())
    })
    .await
}

/// As `secretSources` of charts/seatrial does: Seatrial may read this one secret.
async fn grant(world: &World, namespace: &str, secret: &str) -> Result<()> {
    let rules = json!([{ "apiGroups": [""], "resources": ["secrets"], "resourceNames": [secret], "verbs": ["get"] }]);
    let role: Role = serde_json::from_value(json!({ "metadata": { "name": "seatrial-source" }, "rules": rules }))?;
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": { "name": "seatrial-source" },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "seatrial-source" },
        "subjects": [{ "kind": "ServiceAccount", "name": "seatrial", "namespace": "seatrial" }],
    }))?;
    let params = PostParams::default();
    Api::<Role>::namespaced(world.cluster.client(), namespace).create(&params, &role).await?;
    Api::<RoleBinding>::namespaced(world.cluster.client(), namespace).create(&params, &binding).await?;
    Ok(())
}

fn secrets_of(world: &World, namespace: &str) -> Api<Secret> {
    Api::namespaced(world.cluster.client(), namespace)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_that_a_killed_helm_left_pending_is_recovered() -> Result<()> {
    World::tell("pending", async |world| {
        let pull = world.open_pull("page", Change::page("page")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        world.wait_run(n, "preview_up").await?;
        let namespace = world.namespace(n);
        // Helm waits for its hook, and is killed over it.
        world.push(&pull, Change::page("hooked").file(HOOK, &hook("pre-upgrade", "HANG_SECONDS", "600"))).await?;
        wait_release(world, &namespace, "pending-upgrade").await?;
        world.program.kill()?;
        world.restart().await?;
        let pushed = world.push(&pull, Change::page("unhooked").file(HOOK, "")).await?;
        world.wait_ready(n, &pushed).await?;
        world.wait_run(n, "preview_up").await?;
        world.check_live(n, &pushed).await?;

        // One that is stuck can be taken away, too.
        world.push(&pull, Change::page("hooked").file(HOOK, &hook("pre-upgrade", "HANG_SECONDS", "600"))).await?;
        wait_release(world, &namespace, "pending-upgrade").await?;
        world.program.kill()?;
        world.restart().await?;
        world.close(&pull).await?;
        world.wait_receipt(n).await?;
        world.check_gone(n).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_release_that_was_left_pending_is_recovered() -> Result<()> {
    World::tell("pending-first", async |world| {
        let change = Change::page("hooked").file(HOOK, &hook("pre-install", "HANG_SECONDS", "600"));
        let pull = world.open_pull("page", change).await?;
        let n = pull.number;
        wait_release(world, &world.namespace(n), "pending-install").await?;
        world.program.kill()?;
        world.restart().await?;
        let pushed = world.push(&pull, Change::page("unhooked").file(HOOK, "")).await?;
        world.wait_ready(n, &pushed).await?;
        world.check_live(n, &pushed).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hook_that_fails_is_named_with_what_it_said() -> Result<()> {
    World::tell("hook", async |world| {
        let change = Change::page("hooked").file(HOOK, &hook("pre-install", "CRASH", "true"));
        let pull = world.open_pull("page", change).await?;
        let told = world.wait_comment(pull.number, &["Preview failed at release", "migrate"], PATIENCE).await?;
        ensure!(told.body.contains("cannot connect to database"), "its last words are missing: {}", told.body);
        let mended = world.push(&pull, Change::page("unhooked").file(HOOK, "")).await?;
        world.wait_ready(pull.number, &mended).await?;
        world.check_live(pull.number, &mended).await
    })
    .await
}

const HOOK: &str = "chart/templates/hook.yaml";

/// A hook that goes wrong in one of the sample application's ways.
fn hook(when: &str, variable: &str, value: &str) -> String {
    format!(
        r#"apiVersion: batch/v1
kind: Job
metadata:
  name: migrate
  annotations:
    helm.sh/hook: {when}
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      automountServiceAccountToken: false
      terminationGracePeriodSeconds: 1
      securityContext: {{ runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{ type: RuntimeDefault }} }}
      containers:
        - name: migrate
          image: "{{{{ .Values.image.repository }}}}:{{{{ .Values.image.tag }}}}"
          env: [{{ name: {variable}, value: "{value}" }}]
          securityContext: {{ allowPrivilegeEscalation: false, capabilities: {{ drop: [ALL] }} }}
          resources: {{ requests: {{ cpu: 5m, memory: 16Mi }}, limits: {{ cpu: 200m, memory: 64Mi }} }}
"#
    )
}

async fn wait_release(world: &World, namespace: &str, status: &str) -> Result<()> {
    until(&format!("a release that is {status}"), PATIENCE, async || {
        let releases = world.cluster.releases(namespace).await?;
        Ok(releases.last().filter(|newest| *newest == status).map(drop))
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_changed_in_the_cluster_is_as_it_was_after_the_next_deployment() -> Result<()> {
    World::tell("drift", async |world| {
        let pull = world.open_pull("page", Change::page("page")).await?;
        let n = pull.number;
        world.wait_ready(n, &pull.sha).await?;
        world.wait_run(n, "preview_up").await?;
        let quotas: Api<ResourceQuota> = Api::namespaced(world.cluster.client(), &world.namespace(n));
        let quota = quotas.list(&ListParams::default()).await?.items.pop().context("there is no quota")?;
        let (name, before) = (quota.name_any(), quota.spec.clone());
        let patch: Value =
            json!({ "metadata": { "labels": { "team": "ours" } }, "spec": { "hard": { "pods": "999" } } });
        quotas.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        let pushed = world.push(&pull, Change::page("next")).await?;
        world.wait_ready(n, &pushed).await?;
        let after = until("the quota", PATIENCE, async || quotas.get_opt(&name).await.map_err(Into::into)).await?;
        ensure!(after.spec == before, "the quota is {:?}", after.spec);
        ensure!(after.labels().contains_key("team"), "what others own was taken away: {:?}", after.labels());
        Ok(())
    })
    .await
}
