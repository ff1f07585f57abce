use seatrial_engine::*;
use serde_json::json;
use crate::world::*;
use crate::standins::pod;
#[tokio::test(flavor = "multi_thread")]
#[ignore = "temporary"]
async fn show() {
    let world = World::new().await;
    world.running(41, "Redesign the checkout so that guests can pay without an account").await;
    world.failed(42, "Use the new configuration loader").await;
    let (_, _) = world.opened(43, "Cache product images at the edge <script>alert(1)</script>").await;
    let claim = world.work(&[("admit", 45), ("namespace", 380), ("release", 2300)]).await;
    let now = SystemClock.now();
    world.record(&claim, vec![StepChange::Began { key: key("rollout"), position: 3, attempt: 1, at: now }], None).await;
    let failure = Failure::transient("the API server at 10.0.0.1:6443 does not answer: connection refused");
    world.record(&claim, vec![StepChange::Failed { key: key("rollout"), attempt: 1, at: now, failure, retry_at: Some(now) }, StepChange::Began { key: key("rollout"), position: 3, attempt: 2, at: now }], None).await;
    world.store.bell().publish(RunEvent::Progress { run: claim.id, key: Some("acme/shop#43".into()), text: "web 1/2, worker 0/1".into() });
    world.opened(44, "Bump dependencies").await;
    world.cluster.pods.lock().unwrap().push(pod("shop-7d9f8c-x2x4k", "running", true));
    world.cluster.pods.lock().unwrap().push(pod("shop-worker-5c9d-9qk2p", "waiting: CrashLoopBackOff", false));
    *world.cluster.log.lock().unwrap() = (0..60).map(|i| format!("2026-11-24T05:{:02}:00Z INFO GET /cart/{i} 200 {} ms", i, i * 7 % 40)).collect();
    let id = world.store.find_environment_of(&at(43)).await.unwrap().unwrap().environment.id;
    let id2 = world.store.find_environment_of(&at(42)).await.unwrap().unwrap().environment.id;
    let id3 = world.store.find_environment_of(&at(41)).await.unwrap().unwrap().environment.id;
    std::fs::write("/tmp/show.json", json!({"front": world.url(""), "gateway": world.gateway.address.to_string(), "ids":[id3.to_string(), id2.to_string(), id.to_string()], "run": claim.id.to_string(), "cookie": world.sign_in().await}).to_string()).unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(1500)).await;
}
