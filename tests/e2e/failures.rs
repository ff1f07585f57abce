//! What is broken is named, with the evidence and what to do.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use seatrial_tests::{Change, Options, PATIENCE, RunState, World, said};

/// How soon after the pod's state people are told.
const SOON: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_that_does_not_exist_is_named_within_15_seconds() -> Result<()> {
    World::tell("no-image", async |world| {
        let pull = world.open_pull("unbuilt", Change::page("unbuilt").without_image()).await?;
        let n = pull.number;
        let trouble =
            world.cluster.wait_trouble(&world.namespace(n), &["ErrImagePull", "ImagePullBackOff"], PATIENCE).await?;
        let comment = world.wait_comment(n, &["Preview failed at rollout"], PATIENCE).await?;
        check_soon(trouble.seen)?;

        let first_lines: String = comment.body.lines().take_while(|line| !line.starts_with("<details>")).collect();
        ensure!(first_lines.contains("container \"shop\""), "the container is not named: {}", comment.body);
        ensure!(first_lines.contains(&format!("shop:{}", pull.sha)), "the image is not named: {}", comment.body);
        ensure!(comment.body.contains("What to do"), "there is no advice: {}", comment.body);
        check_said_failed(world, n, &pull.sha, "image_pull").await?;

        // Built at last: a new push deploys.
        let mended = world.push(&pull, Change::page("built")).await?;
        world.wait_ready(n, &mended).await?;
        world.check_live(n, &mended).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashing_container_is_named_with_its_last_log_line_within_15_seconds() -> Result<()> {
    World::tell("crash", async |world| {
        let pull = world.open_pull("crash", Change::values(&[("crash", "true"), ("logLines", "3")])).await?;
        let n = pull.number;
        let trouble = world.cluster.wait_trouble(&world.namespace(n), &["CrashLoopBackOff"], PATIENCE).await?;
        let comment = world.wait_comment(n, &["Preview failed at rollout"], PATIENCE).await?;
        check_soon(trouble.seen)?;
        ensure!(comment.body.contains(&trouble.container), "the container is not named: {}", comment.body);
        ensure!(
            comment.body.contains("cannot connect to database shop-db:5432"),
            "the last log line is missing: {}",
            comment.body
        );
        check_said_failed(world, n, &pull.sha, "container_crash").await?;

        let kept = world.rest.failure(&world.namespace(n)).await?.to_string();
        ensure!(kept.contains("cannot connect to database"), "the kept logs lack the last line: {kept}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_health_check_fails_with_its_answer_and_a_retry_succeeds() -> Result<()> {
    let options = Options { settings: "health: { path: /healthz, timeout: 4s }\n".to_owned(), ..Options::default() };
    World::tell_with("health", options, async |world| {
        let pull = world.open_pull("ill", Change::values(&[("healthy", "false")])).await?;
        let n = pull.number;
        let comment = world.wait_comment(n, &["Preview failed at health"], PATIENCE).await?;
        ensure!(comment.body.contains("503"), "the answer's status is missing: {}", comment.body);
        ensure!(comment.body.contains("unhealthy"), "the answer's body is missing: {}", comment.body);
        ensure!(comment.body.contains("listens on"), "the application's log is missing: {}", comment.body);
        check_said_failed(world, n, &pull.sha, "health_check").await?;
        let failed = world.wait_run(n, "preview_up").await?;
        ensure!(failed.state == RunState::Failed, "{}", failed.summary());

        // Somebody mends it in the cluster, and asks for the rest of the run.
        world.cluster.set_env(&world.namespace(n), "shop", "HEALTHY", "true").await?;
        let retried = world.rest.retry(&world.namespace(n)).await?;
        ensure!(retried == failed.id, "another run was started");
        world.wait_ready(n, &pull.sha).await?;
        world.check_live(n, &pull.sha).await?;
        let run = world.wait_run(n, "preview_up").await?;
        ensure!(run.state == RunState::Succeeded && run.id == failed.id, "{}", run.summary());
        for step in ["admit", "announce", "configure", "namespace", "policies", "release", "rollout"] {
            let attempts = run.step(step).map(|step| step.attempts.len());
            ensure!(attempts == Some(1), "step {step} was done again: {}", run.summary());
        }
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_preview_over_its_quota_is_told_so() -> Result<()> {
    let options =
        Options { settings: "quota: { cpu: \"1\", memory: 128Mi, pods: 2 }\n".to_owned(), ..Options::default() };
    World::tell_with("quota", options, async |world| {
        let pull = world.open_pull("many", Change::values(&[("replicas", "5")])).await?;
        let comment = world.wait_comment(pull.number, &["Preview failed at rollout"], PATIENCE).await?;
        ensure!(comment.body.contains("quota"), "the quota is not named: {}", comment.body);
        check_said_failed(world, pull.number, &pull.sha, "quota").await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_that_cannot_be_rendered_is_explained_by_helm() -> Result<()> {
    World::tell("bad-chart", async |world| {
        let change = Change::page("bad").file("chart/templates/bad.yaml", "kind: {{ .Values.missing.field }}\n");
        let pull = world.open_pull("bad-chart", change).await?;
        let comment = world.wait_comment(pull.number, &["Preview failed at release"], PATIENCE).await?;
        ensure!(comment.body.contains("bad.yaml"), "the template is not named: {}", comment.body);

        let mended = world.push(&pull, Change::page("good").file("chart/templates/bad.yaml", "")).await?;
        world.wait_ready(pull.number, &mended).await?;
        world.check_live(pull.number, &mended).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_that_cannot_be_read_are_explained_line_by_line() -> Result<()> {
    let options =
        Options { settings: "helth: { path: / }\nrollout: { timeout: soon }\n".to_owned(), ..Options::default() };
    World::tell_with("settings", options, async |world| {
        let pull = world.open_pull("settings", Change::page("settings")).await?;
        let comment = world.wait_comment(pull.number, &["Preview failed at configure"], PATIENCE).await?;
        for text in ["line 6", "helth", "health", "line 7", "rollout.timeout"] {
            ensure!(comment.body.contains(text), "{text:?} is missing: {}", comment.body);
        }
        let namespace = world.cluster.namespace(&world.namespace(pull.number)).await?;
        ensure!(namespace.is_none(), "a namespace was made all the same");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_that_is_not_ours_is_left_alone_and_said_so() -> Result<()> {
    World::tell("foreign", async |world| {
        let name = world.namespace(1);
        world.make_foreign_namespace(&name, &[("team", "payments")]).await?;
        let before = world.cluster.namespace(&name).await?;
        let pull = world.open_pull("foreign", Change::page("foreign")).await?;
        ensure!(pull.number == 1, "the test needs the first pull request");
        let comment = world.wait_comment(1, &["Preview failed at namespace", &name], PATIENCE).await?;
        ensure!(comment.body.contains("was not made by Seatrial"), "it is not explained: {}", comment.body);
        check_said_failed(world, 1, &pull.sha, "namespace_conflict").await?;

        world.close(&pull).await?;
        world.wait_run(1, "preview_down").await?;
        let after = world.cluster.namespace(&name).await?;
        let kept = |namespace: &Option<k8s_openapi::api::core::v1::Namespace>| {
            namespace.as_ref().map(|n| {
                let m = &n.metadata;
                (m.uid.clone(), m.labels.clone(), m.annotations.clone(), m.deletion_timestamp.is_some())
            })
        };
        ensure!(after.is_some() && kept(&before) == kept(&after), "it was touched: {before:?} {after:?}");
        let (quotas, limits, policies) = world.cluster.fences(&name).await?;
        ensure!(quotas.is_empty() && limits.is_empty() && policies.is_empty(), "{quotas:?} {limits:?} {policies:?}");
        Ok(())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_no_node_can_take_is_told_so() -> Result<()> {
    World::tell("unschedulable", async |world| {
        let picky = "      nodeSelector: { disk: diamond }\n";
        let pull = world.open_pull("picky", Change::deployment("      containers:\n", picky)).await?;
        let comment = world.wait_comment(pull.number, &["Preview failed at rollout"], PATIENCE).await?;
        for text in ["shop", "node"] {
            ensure!(comment.body.contains(text), "{text:?} is missing: {}", comment.body);
        }
        check_said_failed(world, pull.number, &pull.sha, "unschedulable").await?;
        let mended = world.push(&pull, Change::deployment("", "")).await?;
        world.wait_ready(pull.number, &mended).await?;
        world.check_live(pull.number, &mended).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_that_does_not_exist_is_named() -> Result<()> {
    World::tell("volume", async |world| {
        let volume = "      volumes: [{ name: data, persistentVolumeClaim: { claimName: shop-data } }]\n";
        let pull = world.open_pull("homeless", Change::deployment("      containers:\n", volume)).await?;
        let comment = world.wait_comment(pull.number, &["Preview failed at rollout"], PATIENCE).await?;
        ensure!(comment.body.contains("shop-data"), "the claim is not named: {}", comment.body);
        world.wait_run(pull.number, "preview_up").await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_volume_claim_that_nothing_can_fill_is_named() -> Result<()> {
    World::tell("claim", async |world| {
        let volume = "      volumes: [{ name: data, persistentVolumeClaim: { claimName: shop-data } }]\n";
        let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: { name: shop-data }\nspec:\n  storageClassName: diamond\n  accessModes: [ReadWriteOnce]\n  resources: { requests: { storage: 1Gi } }\n";
        let change = Change::deployment("      containers:\n", volume).file("chart/templates/claim.yaml", claim);
        let pull = world.open_pull("homeless", change).await?;
        let comment = world.wait_comment(pull.number, &["Preview failed at rollout"], PATIENCE).await?;
        for text in ["shop-data", "diamond"] {
            ensure!(comment.body.contains(text), "{text:?} is missing: {}", comment.body);
        }
        world.wait_run(pull.number, "preview_up").await.map(drop)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_does_not_exist_is_named() -> Result<()> {
    World::tell("configmap", async |world| {
        let from = "          envFrom: [{ configMapRef: { name: shop-settings } }]\n";
        let pull = world.open_pull("unset", Change::deployment("          env:\n", from)).await?;
        let comment = world.wait_comment(pull.number, &["Preview failed at rollout"], PATIENCE).await?;
        ensure!(comment.body.contains("shop-settings"), "the ConfigMap is not named: {}", comment.body);
        check_said_failed(world, pull.number, &pull.sha, "container_config").await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chart_that_wants_something_of_the_whole_cluster_is_refused_and_told_what() -> Result<()> {
    World::tell("cluster-wide", async |world| {
        let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: { name: shop-reads-all }\nrules: [{ apiGroups: [\"\"], resources: [pods], verbs: [list] }]\n";
        let pull = world.open_pull("greedy", Change::page("greedy").file("chart/templates/role.yaml", role)).await?;
        let n = pull.number;
        let comment = world.wait_comment(n, &["Preview failed at release"], PATIENCE).await?;
        ensure!(comment.body.to_lowercase().contains("clusterrole"), "it is not named: {}", comment.body);
        world.wait_run(n, "preview_up").await?;
        let mended = world.push(&pull, Change::page("modest").file("chart/templates/role.yaml", "")).await?;
        world.wait_ready(n, &mended).await?;
        world.check_live(n, &mended).await
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_of_the_chart_that_fails_is_named() -> Result<()> {
    World::tell("job", async |world| {
        let job = r#"apiVersion: batch/v1
kind: Job
metadata: { name: seed }
spec:
  backoffLimit: 0
  template:
    spec:
      restartPolicy: Never
      securityContext: { runAsNonRoot: true, runAsUser: 65532, seccompProfile: { type: RuntimeDefault } }
      containers:
        - name: seed
          image: "{{ .Values.image.repository }}:{{ .Values.image.tag }}"
          env: [{ name: CRASH, value: "true" }]
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: [ALL] } }
"#;
        let pull = world.open_pull("seedless", Change::page("job").file("chart/templates/job.yaml", job)).await?;
        let comment = world.wait_comment(pull.number, &["Preview failed at rollout", "seed"], PATIENCE).await?;
        ensure!(comment.body.contains("cannot connect to database"), "its last words are missing: {}", comment.body);
        check_said_failed(world, pull.number, &pull.sha, "job_failed").await
    })
    .await
}

fn check_soon(seen: Instant) -> Result<()> {
    let took = seen.elapsed();
    ensure!(took < SOON, "people were told {took:?} after the pod's state");
    Ok(())
}

/// The commit status, the deployment and the API say the same as the comment.
async fn check_said_failed(world: &World, number: u64, sha: &str, reason: &str) -> Result<()> {
    let comment = world.the_comment(number).await?;
    ensure!(comment.body.contains(&said(sha)), "the comment is about another commit: {}", comment.body);
    let run = world.wait_run(number, "preview_up").await?;
    ensure!(run.state == RunState::Failed, "{}", run.summary());
    let status = world.status(sha).await?;
    ensure!(status.as_ref().is_some_and(|status| status.state == "failure"), "the commit's status is {status:?}");
    let deployments = world.deployments().await?;
    let failed = deployments.iter().any(|one| one.sha == sha && one.state == "failure");
    ensure!(failed, "no deployment failed: {deployments:?}");
    let preview = world.rest.preview(&world.namespace(number)).await?;
    ensure!(preview["state"] == "failed", "the preview is {preview:#}");
    ensure!(preview["failure"]["reason"] == reason, "the reason is another: {preview:#}");
    Ok(())
}
