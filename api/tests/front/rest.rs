use std::time::Duration;

use reqwest::StatusCode;
use seatrial_engine::{Clock, Failure, SystemClock};
use seatrial_preview::ports::Fact;
use serde_json::{Value, json};

use crate::standins::pod;
use crate::world::{World, assert_problem, failed_attempt, pull_request};

#[tokio::test]
async fn previews_are_listed_filtered_and_paged() {
    let world = World::new().await;
    world.running(1, "First").await;
    for number in 2..=5 {
        world.opened(number, "Another").await;
    }
    let all = world.read("/api/v1/previews?limit=2").await;
    assert_eq!(all["items"].as_array().unwrap().len(), 2);
    let next = all["next"].as_str().unwrap();
    let second = world.read(&format!("/api/v1/previews?limit=2&after={next}")).await;
    assert_ne!(second["items"][0]["id"], all["items"][0]["id"]);

    let running = world.read("/api/v1/previews?state=running").await;
    assert_eq!(running["items"].as_array().unwrap().len(), 1);
    assert_eq!(running["items"][0]["title"], "First");
    let one = world.read("/api/v1/previews?repository=acme/shop&number=3").await;
    assert_eq!(one["items"][0]["number"], 3);
    assert!(
        world.read("/api/v1/previews?repository=acme/shop&number=99").await["items"].as_array().unwrap().is_empty()
    );
}

#[tokio::test]
async fn runs_are_listed_by_when_they_were_started() {
    let world = World::new().await;
    world.opened(1, "First").await;
    let found = async |question: &str, at: chrono::DateTime<chrono::Utc>| {
        let at = at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true);
        world.read(&format!("/api/v1/runs?{question}={at}")).await["items"].as_array().unwrap().len()
    };
    let (before, after) =
        (SystemClock.now() - Duration::from_secs(3_600), SystemClock.now() + Duration::from_secs(3_600));
    assert_eq!((found("since", before).await, found("since", after).await), (1, 0));
    assert_eq!((found("until", before).await, found("until", after).await), (0, 1));
}

#[tokio::test]
async fn wrong_questions_name_the_field() {
    let world = World::new().await;
    for (path, pointer) in [
        ("/api/v1/previews?state=sideways", "/state"),
        ("/api/v1/previews?limit=0", "/limit"),
        ("/api/v1/previews?limit=x", "/limit"),
        ("/api/v1/previews?after=nonsense", "/after"),
        ("/api/v1/previews?repository=acme&number=3", "/repository"),
        ("/api/v1/previews/UPPER", "/preview"),
        ("/api/v1/runs/7", "/run"),
        ("/api/v1/events?run=7", "/run"),
    ] {
        let problem = assert_problem(world.get(path).send().await.unwrap(), 400, "invalid_request").await;
        assert_eq!(problem["pointer"], pointer, "{path}");
    }
    for body in ["{", "{}", "[]", "{\"repository\":\"a/b\"}", "{\"repository\":7,\"number\":1}"] {
        let response =
            world.post("/api/v1/previews").header("content-type", "application/json").body(body).send().await.unwrap();
        assert_problem(response, 400, "invalid_request").await;
    }
    assert_problem(world.get("/api/v1/previews/pr-shop-7").send().await.unwrap(), 404, "preview_not_found").await;
    assert_problem(world.get("/api/v1/nothing").send().await.unwrap(), 404, "not_found").await;
    assert_problem(world.post("/api/v1/runs").send().await.unwrap(), 405, "method_not_allowed").await;
}

#[tokio::test]
async fn a_pull_request_is_deployed_by_repository_and_number() {
    let world = World::new().await;
    let deploy =
        |number: u64| world.post("/api/v1/previews").json(&json!({ "repository": "acme/shop", "number": number }));
    assert_problem(deploy(4).send().await.unwrap(), 404, "pull_request_not_found").await;

    world.forge.pull_requests.lock().unwrap().push(pull_request(4, "By hand"));
    let response = deploy(4).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let accepted: Value = response.json().await.unwrap();
    assert_eq!((&accepted["run_url"], &accepted["preview"]["state"]), (&json!(location), &json!("queued")));
    let run = world.read(&location).await;
    assert_eq!(run["run"]["key"], "acme/shop#4");
    let steps: Vec<_> = run["steps"].as_array().unwrap().iter().map(|step| &step["state"]).collect();
    assert!(steps.len() == 6 && steps.iter().all(|state| **state == "planned"), "{steps:?}");
}

#[tokio::test]
async fn a_run_shows_its_steps_and_those_to_come() {
    let world = World::new().await;
    let (_, run) = world.opened(7, "x").await;
    world.work(&[("admit", 50), ("namespace", 200)]).await;
    let run = world.read(&format!("/api/v1/runs/{run}")).await;
    let steps: Vec<_> =
        run["steps"].as_array().unwrap().iter().map(|s| (s["name"].clone(), s["state"].clone())).collect();
    assert_eq!(steps[0], (json!("admit"), json!("succeeded")));
    assert_eq!(steps[2], (json!("release"), json!("planned")));
    assert_eq!(run["steps"][1]["took_ms"], 200);
    assert_eq!(run["steps"][1]["attempts"][0]["outcome"], "succeeded");
    assert!(run["steps"][2].get("started_at").is_none(), "absent is absent");
}

#[tokio::test]
async fn a_failure_is_explained_and_retried() {
    let world = World::new().await;
    let (_, run) = world.failed(7, "Crashes").await;
    let why = world.read("/api/v1/previews/pr-shop-7/why-not-ready").await;
    assert_eq!((&why["ready"], &why["step"]), (&json!(false), &json!("rollout")));
    assert!(why["summary"].as_str().unwrap().contains("crashes"), "{why}");
    assert_eq!(why["snapshot"]["step"], "rollout");
    let failure = world.read("/api/v1/previews/pr-shop-7/failure").await;
    assert_eq!(failure["diagnosis"]["reason"], "container_crash");

    let response = world.post("/api/v1/previews/pr-shop-7/retry").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(response.json::<Value>().await.unwrap()["run"], run.to_string());
    let again = world.post("/api/v1/previews/pr-shop-7/retry").send().await.unwrap();
    assert_eq!(again.status(), StatusCode::CONFLICT, "what waits to run cannot be retried");
}

#[tokio::test]
async fn a_step_that_waits_for_its_next_attempt_is_explained() {
    let world = World::new().await;
    world.opened(7, "x").await;
    let claim = world.work(&[("admit", 50)]).await;
    let at = SystemClock.now();
    let failure = Failure::transient("the API server does not answer");
    let retry_at = at + Duration::from_secs(8);
    world.record(&claim, vec![failed_attempt("namespace", 1, failure, Some(retry_at))], None).await;
    world.cluster.pods.lock().unwrap().push(pod("shop-1", "waiting: ContainerCreating", false));

    let why = world.read("/api/v1/previews/pr-shop-7/why-not-ready").await;
    let summary = why["summary"].as_str().unwrap();
    assert!(summary.contains("step namespace failed once so far and will be tried again"), "{summary}");
    assert_eq!((&why["attempts"], &why["last_error"]), (&json!(1), &json!("the API server does not answer")));
    assert!(why["next_attempt_at"].is_string());
    assert_eq!(why["pods"][0]["containers"][0]["state"], "waiting: ContainerCreating");
}

#[tokio::test]
async fn an_old_run_is_not_retried_over_a_newer_one() {
    let world = World::new().await;
    let (_, old) = world.failed(7, "Crashes").await;
    world.forge.pull_requests.lock().unwrap().push(pull_request(7, "Crashes"));
    assert_eq!(world.post("/api/v1/previews/pr-shop-7/deploy").send().await.unwrap().status(), StatusCode::ACCEPTED);
    let response = world.post(&format!("/api/v1/runs/{old}/retry")).send().await.unwrap();
    assert_problem(response, 409, "run_superseded").await;
}

#[tokio::test]
async fn deleting_may_be_repeated() {
    let world = World::new().await;
    world.running(7, "x").await;
    let delete =
        || world.client.delete(world.url("/api/v1/previews/pr-shop-7")).bearer_auth(crate::world::TOKEN).send();
    let first: Value = delete().await.unwrap().json().await.unwrap();
    let second: Value = delete().await.unwrap().json().await.unwrap();
    assert_eq!((&first["fresh"], &second["fresh"]), (&json!(true), &json!(false)));
    assert_eq!(first["run"], second["run"]);
}

#[tokio::test]
async fn a_run_is_cancelled_once() {
    let world = World::new().await;
    let (_, run) = world.opened(7, "x").await;
    let cancel = || world.post(&format!("/api/v1/runs/{run}/cancel")).send();
    let cancelled: Value = cancel().await.unwrap().json().await.unwrap();
    assert_eq!(cancelled["run"]["state"], "cancelled");
    assert_problem(cancel().await.unwrap(), 409, "run_ended").await;
}

#[tokio::test]
async fn logs_are_text_or_events() {
    let world = World::new().await;
    world.running(7, "x").await;
    world.cluster.pods.lock().unwrap().push(pod("shop-1", "running", true));
    *world.cluster.log.lock().unwrap() = ["one", "two\rdata: forged", "three"].map(str::to_owned).to_vec();
    let logs = "/api/v1/previews/pr-shop-7/logs";
    let response = world.get(&format!("{logs}?tail=1&download=true")).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
    assert_eq!(response.headers()["content-disposition"], "attachment; filename=\"pr-shop-7.log\"");
    assert_eq!(response.text().await.unwrap(), "three\n");

    let response = world.get(&format!("{logs}?follow=true")).send().await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let text = response.text().await.unwrap();
    let events: Vec<Value> =
        text.lines().filter_map(|line| line.strip_prefix("data: ")).map(|e| serde_json::from_str(e).unwrap()).collect();
    assert_eq!(events[1]["line"], "two\rdata: forged", "a line cannot pass for an event");
    assert!(events[3]["end"].is_string());

    for wrong in ["pod=../x", "container=a/b", "tail=-1"] {
        let response = world.get(&format!("{logs}?{wrong}")).send().await.unwrap();
        assert_problem(response, 400, "invalid_request").await;
    }
    let nobody = world.get(&format!("{logs}?pod=nobody")).send().await.unwrap();
    assert!(assert_problem(nobody, 404, "not_in_cluster").await["detail"].as_str().unwrap().contains("shop-1"));
}

#[tokio::test]
async fn events_are_heard_as_they_happen() {
    let world = World::new().await;
    let (_, run) = world.opened(7, "x").await;
    let mut events = world.get("/api/v1/events?key=acme%2Fshop%237").send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    world.store.cancel(run, "a test", SystemClock.now()).await.unwrap();
    let heard = tokio::time::timeout(Duration::from_secs(5), events.chunk()).await.unwrap().unwrap().unwrap();
    let heard = String::from_utf8(heard.to_vec()).unwrap();
    assert!(heard.contains("\"kind\":\"state\"") && heard.contains("cancelled"), "{heard}");
}

#[tokio::test]
async fn answers_are_not_kept_by_caches() {
    let world = World::new().await;
    // What has a tag is the caller's alone, and asked about each time.
    for (path, kept) in
        [("/api/v1/previews", "private, no-cache"), ("/api/v1/previews/pr-shop-7", "no-store"), ("/", "no-store")]
    {
        let response = world.get(path).send().await.unwrap();
        assert_eq!(response.headers()["cache-control"], kept, "{path}");
        assert!(response.headers().contains_key("x-request-id"));
    }
}

#[tokio::test]
async fn a_preview_is_put_to_sleep_and_woken() {
    let world = World::new().await;
    let id = world.running(7, "Redesign").await;
    let ask = |verb: &str| world.post(&format!("/api/v1/previews/pr-shop-7/{verb}")).send();
    // It is awake: there is nothing to do.
    let awake = ask("wake").await.unwrap();
    assert_eq!(awake.status(), StatusCode::ACCEPTED);
    assert_eq!(awake.json::<Value>().await.unwrap()["fresh"], false);
    let asleep = ask("sleep").await.unwrap();
    assert_eq!(asleep.status(), StatusCode::ACCEPTED);
    let run = asleep.json::<Value>().await.unwrap()["run"].as_str().unwrap().to_owned();
    assert_eq!(world.read(&format!("/api/v1/runs/{run}")).await["run"]["workflow"], "preview_sleep");
    // While that is being done, nothing else of its kind begins.
    assert_problem(ask("sleep").await.unwrap(), 409, "run_state").await;

    world.store.remember(id, Fact::Asleep(true)).await.unwrap();
    let why = world.read("/api/v1/previews/pr-shop-7/why-not-ready").await;
    assert!(why["summary"].as_str().unwrap().contains("sleeps"), "{why}");
}

#[tokio::test]
async fn a_preview_is_kept_as_long_as_somebody_asks_for() {
    let world = World::new().await;
    world.running(7, "Redesign").await;
    let keep = |body: Value| world.patch("/api/v1/previews/pr-shop-7/life").json(&body).send();
    let before = world.read("/api/v1/previews/pr-shop-7").await["expires_at"].clone();
    let longer = keep(json!({ "for_hours": 720 })).await.unwrap().json::<Value>().await.unwrap();
    assert!(longer["expires_at"].as_str() > before.as_str(), "{longer} {before}");
    let pinned = keep(json!({ "pinned": true })).await.unwrap().json::<Value>().await.unwrap();
    assert!(pinned["pinned"] == true && pinned.get("expires_at").is_none(), "{pinned}");
    for hours in [0, 721] {
        assert_problem(keep(json!({ "for_hours": hours })).await.unwrap(), 400, "invalid_request").await;
    }
}

#[tokio::test]
async fn editors_get_the_schema_of_the_settings_without_a_token() {
    let world = World::new().await;
    let response = reqwest::get(world.url("/api/seatrial-yaml.schema.json")).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["access-control-allow-origin"], "*");
    let schema: Value = response.json().await.unwrap();
    assert_eq!(schema["title"], ".seatrial.yaml");
    assert!(schema["properties"]["waitFor"].is_object(), "{schema}");
}
