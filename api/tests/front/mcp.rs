use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::standins::pod;
use crate::world::{World, pull_request};

impl World {
    async fn rpc(&self, method: &str, params: Value) -> Value {
        let response = self
            .post("/api/mcp")
            .header("accept", "application/json, text/event-stream")
            .header("mcp-protocol-version", "2025-11-25")
            .json(&json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{method}");
        let answer: Value = response.json().await.unwrap();
        assert!(answer.get("error").is_none(), "{answer}");
        answer["result"].clone()
    }

    async fn tool(&self, name: &str, arguments: Value) -> Value {
        self.rpc("tools/call", json!({ "name": name, "arguments": arguments })).await
    }
}

#[tokio::test]
async fn an_agent_finds_its_tools() {
    let world = World::new().await;
    let hello =
        json!({ "protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } });
    let hello = world.rpc("initialize", hello).await;
    assert_eq!((&hello["protocolVersion"], &hello["serverInfo"]["name"]), (&json!("2025-11-25"), &json!("seatrial")));
    assert!(hello["instructions"].as_str().unwrap().contains("why_not_ready"));

    let tools = world.rpc("tools/list", json!({})).await;
    let tools = tools["tools"].as_array().unwrap();
    assert_eq!(tools.len(), 14);
    for tool in tools {
        let name = tool["name"].as_str().unwrap();
        assert!(tool["description"].as_str().is_some_and(|text| text.len() > 30), "{name}");
        assert!(tool["annotations"]["readOnlyHint"].is_boolean(), "{name}");
        assert!(tool["outputSchema"].is_object() || name == "get_preview_logs", "{name}");
    }
}

#[tokio::test]
async fn tools_answer_with_structure_by_every_name() {
    let world = World::new().await;
    let id = world.running(7, "Redesign").await;
    for named in [
        json!({ "preview": id.to_string() }),
        json!({ "preview": "pr-shop-7" }),
        json!({ "preview": "acme/shop#7" }),
        json!({ "repository": "acme/shop", "number": 7 }),
    ] {
        let answer = world.tool("get_preview_environment", named).await;
        assert_eq!(answer["structuredContent"]["state"], "running");
    }
    let list = world.tool("list_preview_environments", json!({ "state": "running" })).await;
    assert_eq!(list["structuredContent"]["items"][0]["namespace"], "pr-shop-7");
    let runs = world.tool("list_workflow_runs", json!({})).await;
    let run = &runs["structuredContent"]["items"][0]["id"];
    let run = world.tool("get_workflow_run", json!({ "run": run })).await;
    assert_eq!(run["structuredContent"]["run"]["state"], "succeeded");
}

#[tokio::test]
async fn an_agent_can_do_what_a_person_can() {
    let world = World::new().await;
    world.failed(7, "Crashes").await;
    let why = world.tool("why_not_ready", json!({ "preview": "pr-shop-7" })).await;
    assert_eq!(why["structuredContent"]["diagnosis"]["reason"], "container_crash");
    let retried = world.tool("retry_preview_deployment", json!({ "preview": "pr-shop-7" })).await;
    assert_eq!(retried["structuredContent"]["preview"]["state"], "queued");

    world.forge.pull_requests.lock().unwrap().push(pull_request(8, "New"));
    let deployed = world.tool("deploy_preview_environment", json!({ "repository": "acme/shop", "number": 8 })).await;
    assert_eq!(deployed["structuredContent"]["preview"]["number"], 8);
    let deleted = world.tool("delete_preview_environment", json!({ "preview": "pr-shop-8" })).await;
    assert_eq!(deleted["structuredContent"]["preview"]["state"], "deleting");

    let kept = world.tool("keep_preview_environment", json!({ "preview": "pr-shop-7", "pinned": true })).await;
    assert_eq!(kept["structuredContent"]["pinned"], true);
    let kept = world.tool("keep_preview_environment", json!({ "preview": "pr-shop-7", "for_hours": 721 })).await;
    assert!(kept["content"][0]["text"].as_str().unwrap().contains("for_hours: must be from 1 to 720"), "{kept}");

    world.cluster.pods.lock().unwrap().push(pod("shop-1", "running", true));
    *world.cluster.log.lock().unwrap() = ["one", "two"].map(str::to_owned).to_vec();
    let log = world.tool("get_preview_logs", json!({ "preview": "pr-shop-7", "tail": 1 })).await;
    assert_eq!(log["content"][0]["text"], "two\n");
}

#[tokio::test]
async fn errors_say_what_to_do() {
    let world = World::new().await;
    for (arguments, text) in [
        (json!({ "preview": "pr-shop-9" }), "there is no preview pr-shop-9"),
        (json!({ "preview": "nonsense" }), "namespace (pr-…)"),
        (json!({ "repository": "acme/shop" }), "repository and number"),
    ] {
        let answer = world.tool("get_preview_environment", arguments).await;
        assert_eq!(answer["isError"], true);
        assert!(answer["content"][0]["text"].as_str().unwrap().contains(text), "{answer}");
    }
}

#[tokio::test]
async fn other_origins_are_refused() {
    let world = World::new().await;
    let response = world.post("/api/mcp").header("origin", "http://evil.example").body("{}").send().await.unwrap();
    assert_eq!(response.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn an_agent_retries_from_a_step_and_cancels() {
    let world = World::new().await;
    let (_, run) = world.failed(7, "A change").await;
    let run = run.to_string();
    let unknown = world.tool("retry_from_step", json!({ "run": run, "step": "nothing" })).await;
    assert_eq!(unknown["isError"], true);
    let said = unknown["content"][0]["text"].as_str().unwrap();
    assert!(said.contains("it has admit, namespace, release, rollout"), "{said}");
    let retried = world.tool("retry_from_step", json!({ "run": run, "step": "release" })).await;
    assert_eq!(retried["structuredContent"]["run"]["state"], "queued", "{retried}");
    let cancelled = world.tool("cancel_workflow_run", json!({ "run": run })).await;
    assert_eq!(cancelled["structuredContent"]["run"]["state"], "cancelled", "{cancelled}");
    let again = world.tool("cancel_workflow_run", json!({ "run": run })).await;
    assert!(again["content"][0]["text"].as_str().unwrap().contains("it has already cancelled"), "{again}");
}
