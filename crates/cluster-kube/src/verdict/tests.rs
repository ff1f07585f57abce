//! Scenes as the API server tells them, and what is made of them.

use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::*;
use crate::scene::Shelf;

const LIMIT: Duration = Duration::from_secs(60);

fn patient() -> Patience {
    Patience::new(LIMIT)
}

fn shelf<K: DeserializeOwned + ResourceExt>(objects: &[Value]) -> Shelf<K> {
    Shelf::of(objects.iter().map(|object| serde_json::from_value(object.clone()).unwrap()).collect())
}

fn owned(kind: &str, name: &str) -> Value {
    json!([{ "apiVersion": "apps/v1", "kind": kind, "name": name, "uid": format!("uid-{name}"), "controller": true }])
}

fn deployment(generation: i64, observed: i64, revision: &str, ready: i32) -> Value {
    json!({
        "metadata": { "name": "shop", "uid": "uid-shop", "generation": generation,
            "annotations": { "deployment.kubernetes.io/revision": revision } },
        "spec": { "replicas": 1, "selector": {}, "template": {} },
        "status": { "observedGeneration": observed, "replicas": 1, "updatedReplicas": 1,
            "readyReplicas": ready, "availableReplicas": ready },
    })
}

fn replica_set(name: &str, revision: &str) -> Value {
    json!({ "metadata": { "name": name, "uid": format!("uid-{name}"), "ownerReferences": owned("Deployment", "shop"),
        "annotations": { "deployment.kubernetes.io/revision": revision } } })
}

fn pod(name: &str, set: &str, status: Value) -> Value {
    json!({
        "metadata": { "name": name, "uid": format!("uid-{name}"), "ownerReferences": owned("ReplicaSet", set) },
        "spec": { "containers": [{ "name": "shop", "image": "registry.example/shop:1", "readinessProbe": {} }] },
        "status": status,
    })
}

fn container(restarts: i32, state: Value) -> Value {
    // The kubelet may name another tag of the same content.
    json!({ "containerStatuses": [{ "name": "shop", "image": "registry.example/shop:other", "imageID": "", "ready": false,
        "restartCount": restarts, "state": state }] })
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({ "waiting": { "reason": reason, "message": message } })
}

fn scene(deployment: Value, sets: &[Value], pods: &[Value]) -> Scene {
    Scene { deployments: shelf(&[deployment]), replica_sets: shelf(sets), pods: shelf(pods), ..Scene::default() }
}

fn one_pod(status: Value) -> Scene {
    scene(deployment(1, 1, "1", 0), &[replica_set("shop-a", "1")], &[pod("shop-a-1", "shop-a", status)])
}

fn judged(scene: &Scene) -> Verdict {
    judge(scene, &mut patient(), Instant::now())
}

fn blamed(scene: &Scene) -> Option<Blame> {
    match judged(scene) {
        Verdict::Failed(blame) => Some(*blame),
        _ => None,
    }
}

fn words(verdict: Verdict) -> String {
    match verdict {
        Verdict::Ready(rollout) => format!("ready {:?}", rollout.workloads),
        Verdict::Waiting { progress, .. } => format!("waiting {progress}"),
        Verdict::Failed(blame) => format!("failed {}", blame.summary),
    }
}

#[test]
fn nothing_to_wait_for_is_ready() {
    assert_eq!(words(judged(&Scene::default())), "ready []");
}

#[test]
fn a_deployment_is_ready_by_its_newest_generation() {
    let ready = scene(deployment(2, 2, "1", 1), &[], &[]);
    assert_eq!(words(judged(&ready)), r#"ready [("Deployment/shop", "1/1")]"#);
    assert_eq!(words(judged(&scene(deployment(2, 1, "1", 1), &[], &[]))), "waiting shop 1/1");
    assert_eq!(words(judged(&scene(deployment(2, 2, "1", 0), &[], &[]))), "waiting shop 0/1");
    let mut rolling = deployment(2, 2, "2", 1);
    rolling["status"]["replicas"] = json!(2);
    assert_eq!(words(judged(&scene(rolling, &[], &[]))), "waiting shop 0/1");
}

#[test]
fn what_waiting_cannot_cure_is_named() {
    for (state, restarts, reason) in [
        (waiting("ImagePullBackOff", "Back-off pulling image"), 0, Some(Reason::ImagePull)),
        (waiting("ErrImagePull", "failed to resolve: not found"), 0, Some(Reason::ImagePull)),
        (waiting("ErrImagePull", "dial tcp: i/o timeout"), 0, None),
        (waiting("InvalidImageName", "couldn't parse"), 0, Some(Reason::ImagePull)),
        (waiting("CrashLoopBackOff", "back-off 10s"), 1, Some(Reason::ContainerCrash)),
        (waiting("CreateContainerConfigError", "secret \"x\" not found"), 0, Some(Reason::ContainerConfig)),
        (waiting("ContainerCreating", ""), 0, None),
        (json!({ "terminated": { "exitCode": 3, "reason": "Error" } }), 0, None),
        (json!({ "terminated": { "exitCode": 3, "reason": "Error" } }), 1, Some(Reason::ContainerCrash)),
        (json!({ "running": {} }), 4, None),
    ] {
        let blame = blamed(&one_pod(container(restarts, state.clone())));
        assert_eq!(blame.as_ref().map(|blame| blame.reason), reason, "{state}");
        if let Some(blame) = blame {
            assert_eq!(blame.culprit, r#"container "shop" of pod "shop-a-1""#);
        }
    }
    let crash = blamed(&one_pod(container(2, json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } }))));
    assert_eq!(
        crash.unwrap().summary,
        r#"Container "shop" (image registry.example/shop:1) crashes: it used more memory than its limit (OOMKilled), restarted 2 times"#
    );
}

#[test]
fn what_an_earlier_deployment_left_does_not_count() {
    let crashing = pod("shop-a-1", "shop-a", container(5, waiting("CrashLoopBackOff", "")));
    let starting = pod("shop-b-1", "shop-b", container(0, waiting("ContainerCreating", "")));
    let sets = [replica_set("shop-a", "1"), replica_set("shop-b", "2")];
    let seen = scene(deployment(2, 2, "2", 0), &sets, &[crashing.clone(), starting]);
    assert_eq!(words(judged(&seen)), "waiting shop 0/1");
    // The controller has not yet seen the new generation: its old ReplicaSet looks newest.
    let unseen = scene(deployment(2, 1, "1", 0), &sets[..1], std::slice::from_ref(&crashing));
    assert_eq!(words(judged(&unseen)), "waiting shop 0/1");
    // Its own is named, though.
    let own = scene(deployment(1, 1, "1", 0), &sets[..1], &[crashing]);
    assert!(words(judged(&own)).starts_with("failed"));
}

#[test]
fn unschedulable_pods_get_a_minute() {
    let stuck = one_pod(json!({ "conditions": [{ "type": "PodScheduled", "status": "False",
        "reason": "Unschedulable", "message": "0/1 nodes are available: 1 Insufficient cpu." }] }));
    let mut patience = patient();
    let start = Instant::now();
    match judge(&stuck, &mut patience, start) {
        Verdict::Waiting { recheck, .. } => assert_eq!(recheck, Some(LIMIT)),
        other => panic!("{}", words(other)),
    }
    let later = words(judge(&stuck, &mut patience, start + LIMIT));
    assert_eq!(later, r#"failed No node takes pod "shop-a-1": 0/1 nodes are available: 1 Insufficient cpu."#);
    assert!(words(judge(&stuck, &mut Patience::spent(), start)).starts_with("failed"));
}

fn with_claim(pod: &mut Value, claim: &str) {
    pod["spec"]["volumes"] = json!([{ "name": "data", "persistentVolumeClaim": { "claimName": claim } }]);
}

fn claim(class: Option<&str>, phase: &str) -> Value {
    let mut claim =
        json!({ "metadata": { "name": "data", "uid": "uid-data" }, "spec": {}, "status": { "phase": phase } });
    if let Some(class) = class {
        claim["spec"]["storageClassName"] = json!(class);
    }
    claim
}

fn unschedulable(message: &str) -> Value {
    json!({ "conditions": [{ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message }] })
}

/// What is said of a pod with the claim `data`, at once and when it is too late.
fn with_claims(status: Value, claims: &[Value], complaint: Option<&str>) -> (String, String, String) {
    let mut waiting = pod("shop-a-1", "shop-a", status);
    with_claim(&mut waiting, "data");
    let mut scene = scene(deployment(1, 1, "1", 0), &[replica_set("shop-a", "1")], &[waiting]);
    scene.claims = shelf(claims);
    scene.complaints.extend(complaint.map(|said| ("uid-data".to_owned(), said.to_owned())));
    let (mut patience, start) = (patient(), Instant::now());
    let mut after = |wait| words(judge(&scene, &mut patience, start + wait));
    (after(Duration::ZERO), after(SAME_BREATH), after(LIMIT))
}

#[test]
fn claims_without_a_volume_are_named_with_their_storage_class() {
    let waits = "waiting shop 0/1";
    let unbound = || unschedulable("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.");
    let (at_once, soon, late) = with_claims(unbound(), &[claim(Some("fast"), "Pending")], None);
    assert_eq!((at_once.as_str(), soon.as_str()), (waits, waits), "a volume may be on its way");
    assert_eq!(
        late,
        r#"failed PersistentVolumeClaim "data" of pod "shop-a-1" has no volume (pending, storage class "fast")"#
    );
    let missing = r#"storageclass.storage.k8s.io "fast" not found"#;
    let (at_once, soon, _) = with_claims(unbound(), &[claim(Some("fast"), "Pending")], Some(missing));
    assert_eq!(at_once, waits);
    assert!(soon.ends_with(&format!(r#"storage class "fast"): {missing}"#)), "{soon}");
    let (.., late) = with_claims(unbound(), &[claim(None, "Pending")], None);
    assert!(late.contains("no storage class, and the cluster has no default one"), "{late}");
    let (at_once, soon, _) = with_claims(unschedulable(r#"persistentvolumeclaim "data" not found"#), &[], None);
    assert_eq!(at_once, waits);
    assert_eq!(soon, r#"failed Pod "shop-a-1" needs the PersistentVolumeClaim "data", which does not exist"#);
    // Chosen a node for, in silence: the volume is waited for.
    let (.., late) = with_claims(json!({ "phase": "Pending" }), &[claim(Some("slow"), "Pending")], None);
    assert!(late.contains(r#"storage class "slow""#), "{late}");
    // Which waits for the node, and the node is what is missing.
    let (.., late) = with_claims(unschedulable("1 Insufficient cpu."), &[claim(Some("slow"), "Pending")], None);
    assert!(late.starts_with("failed No node takes pod"), "{late}");
    let (.., late) = with_claims(unbound(), &[claim(Some("fast"), "Bound")], None);
    assert!(late.starts_with("failed No node takes pod"), "{late}");
}

#[test]
fn volumes_that_cannot_be_mounted_are_told_from_slow_ones() {
    let mut creating = pod("shop-a-1", "shop-a", container(0, waiting("ContainerCreating", "")));
    creating["spec"]["nodeName"] = json!("node-1");
    creating["status"]["phase"] = json!("Pending");
    let said = |pod: &Value, message: &str| {
        let mut scene = scene(deployment(1, 1, "1", 0), &[replica_set("shop-a", "1")], std::slice::from_ref(pod));
        scene.complaints.insert("uid-shop-a-1".to_owned(), message.to_owned());
        let (mut patience, start) = (patient(), Instant::now());
        let first = words(judge(&scene, &mut patience, start));
        (first, words(judge(&scene, &mut patience, start + SAME_BREATH)))
    };
    let missing = r#"MountVolume.SetUp failed for volume "config" : configmap "shop-config" not found"#;
    let (first, then) = said(&creating, missing);
    assert_eq!(first, "waiting shop 0/1", "it may be made in the same breath");
    assert_eq!(then, format!(r#"failed A volume of pod "shop-a-1" cannot be mounted: {missing}"#));
    assert_eq!(said(&creating, "Unable to attach or mount volumes: timed out").1, "waiting shop 0/1");
    creating["status"]["containerStatuses"][0]["state"] = json!({ "running": {} });
    creating["status"]["phase"] = json!("Running");
    assert_eq!(said(&creating, missing).1, "waiting shop 0/1", "it was found in the end");
}

#[test]
fn quota_refusals_wait_for_pods_that_are_leaving() {
    let mut refused = deployment(2, 2, "2", 0);
    refused["status"]["conditions"] = json!([{ "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate",
        "message": "pods \"shop-b-1\" is forbidden: exceeded quota: seatrial, requested: pods=1, used: pods=1, limited: pods=1" }]);
    let blame = blamed(&scene(refused.clone(), &[], &[])).unwrap();
    assert_eq!((blame.reason, blame.culprit.as_str()), (Reason::Quota, r#"Deployment "shop""#));
    let mut leaving = pod("shop-a-1", "shop-a", json!({}));
    leaving["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    let mut patience = patient();
    let start = Instant::now();
    let with = scene(refused.clone(), &[], &[leaving]);
    assert_eq!(words(judge(&with, &mut patience, start)), "waiting shop 0/1");
    let without = scene(refused, &[], &[]);
    assert_eq!(words(judge(&without, &mut patience, start + QUOTA_LIMIT / 2)), "waiting shop 0/1");
    assert!(words(judge(&without, &mut patience, start + QUOTA_LIMIT)).starts_with("failed The preview's quota"));
}

#[test]
fn pod_security_refusals_say_what_to_set() {
    let sets = shelf(&[json!({ "metadata": { "name": "db", "uid": "uid-db", "generation": 1 },
        "spec": { "replicas": 1, "selector": {}, "template": {}, "serviceName": "db" }, "status": { "replicas": 0, "observedGeneration": 1 } })]);
    let mut scene = Scene { stateful_sets: sets, ..Scene::default() };
    assert_eq!(words(judged(&scene)), "waiting db 0/1");
    let message = "create Pod db-0 failed: pods \"db-0\" is forbidden: violates PodSecurity \"restricted:latest\"";
    scene.complaints.insert("uid-db".to_owned(), message.to_owned());
    let blame = blamed(&scene).unwrap();
    assert_eq!((blame.reason, blame.culprit.as_str()), (Reason::ContainerConfig, r#"StatefulSet "db""#));
    assert!(blame.advice.contains("podSecurity: baseline"));
}

#[test]
fn jobs_count_by_their_end() {
    let job = |conditions: Value| {
        json!({ "metadata": { "name": "migrate", "uid": "uid-migrate" }, "spec": { "template": {} },
            "status": { "conditions": conditions } })
    };
    let of = |jobs: &[Value]| Scene { jobs: shelf(jobs), ..Scene::default() };
    assert_eq!(words(judged(&of(&[job(json!([]))]))), "waiting migrate 0/1");
    let done = job(json!([{ "type": "Complete", "status": "True" }]));
    assert_eq!(words(judged(&of(&[done]))), r#"ready [("Job/migrate", "1/1")]"#);
    let failed =
        job(json!([{ "type": "Failed", "status": "True", "message": "Job has reached the specified backoff limit" }]));
    let blame = blamed(&of(std::slice::from_ref(&failed))).unwrap();
    assert_eq!((blame.reason, blame.culprit.as_str()), (Reason::JobFailed, r#"Job "migrate""#));
    let mut hook = failed;
    hook["metadata"]["annotations"] = json!({ "helm.sh/hook": "pre-install" });
    assert_eq!(words(judged(&of(&[hook]))), "ready []");
}

#[test]
fn a_container_that_does_not_run_is_not_ready_whatever_its_workload_says() {
    let ended = json!({ "terminated": { "exitCode": 1, "reason": "Error" } });
    let stale = pod("shop-a-1", "shop-a", container(0, ended));
    let scene = scene(deployment(1, 1, "1", 1), &[replica_set("shop-a", "1")], &[stale]);
    assert_eq!(words(judged(&scene)), "waiting shop 1/1");
}

#[test]
fn containers_without_probe_must_last_a_moment() {
    let mut running = pod("shop-a-1", "shop-a", container(0, json!({ "running": {} })));
    running["spec"]["containers"][0].as_object_mut().unwrap().remove("readinessProbe");
    let scene = scene(deployment(1, 1, "1", 1), &[replica_set("shop-a", "1")], &[running]);
    let mut patience = patient();
    let start = Instant::now();
    assert_eq!(words(judge(&scene, &mut patience, start)), "waiting shop 1/1");
    assert!(words(judge(&scene, &mut patience, start + SETTLING)).starts_with("ready"));
}

#[test]
fn an_unready_pod_is_named_after_the_deadline() {
    let scene = one_pod(container(0, json!({ "running": {} })));
    let blame = blame_waiting(&scene).unwrap();
    assert_eq!(blame.reason, Reason::RolloutTimeout);
    assert_eq!(blame.culprit, r#"container "shop" of pod "shop-a-1""#);
    assert!(blame.summary.contains("readiness"), "{}", blame.summary);
    assert!(blame_waiting(&Scene::default()).is_none());
}
