//! A filled database of an earlier version is brought up to date.

use std::path::Path;
use std::sync::Arc;

use seatrial_engine::{AttemptOutcome, RunId, RunState, StepPhase, SystemClock};
use sqlx::{ConnectOptions, SqliteConnection};
use uuid::Uuid;

use crate::place::{On, Place};

/// The tables as the first version made them.
async fn first_version(url: &str) -> SqliteConnection {
    let only_first = tempfile::tempdir().unwrap();
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/sqlite");
    std::fs::copy(migrations.join("0001_first.sql"), only_first.path().join("0001_first.sql")).unwrap();
    let options: sqlx::sqlite::SqliteConnectOptions = url.parse().unwrap();
    let mut connection = options.create_if_missing(true).connect().await.unwrap();
    sqlx::migrate::Migrator::new(only_first.path()).await.unwrap().run(&mut connection).await.unwrap();
    connection
}

#[tokio::test]
async fn runs_of_the_first_version_keep_their_steps_and_attempts() {
    let place = Place::new(On::Sqlite).await;
    let mut old = first_version(&place.url()).await;
    let ids: [Uuid; 2] = [Uuid::now_v7(), Uuid::now_v7()];
    for (id, state) in ids.iter().zip(["succeeded", "running"]) {
        sqlx::query(
            "INSERT INTO runs (id, workflow, version, state, input, output, key, epoch, worker, lease_until, created_at)
             VALUES (?, 'preview_up', 1, ?, '{}', '1', 'acme/shop#7', 1, 'seatrial', 5000, 1000)",
        )
        .bind(id)
        .bind(state)
        .execute(&mut old)
        .await
        .unwrap();
    }
    sqlx::raw_sql(
        "INSERT INTO steps (run, scope, name, occurrence, position, status, attempts, failures, output, started_at, finished_at)
         VALUES (1, '', 'admit', 0, 0, 'succeeded', 2, 1, '\"yes\"', 1000, 3000),
                (2, '', 'admit', 0, 0, 'succeeded', 1, 0, '\"yes\"', 1000, 2000),
                (2, '', 'release', 0, 1, 'running', 1, 0, NULL, 2000, NULL);
         INSERT INTO attempts (run, scope, name, occurrence, attempt, started_at, finished_at, outcome, failure)
         VALUES (1, '', 'admit', 0, 1, 1000, 1500, 'failed', '{\"kind\":{\"transient\":{\"retry_after\":null}},\"message\":\"busy\"}'),
                (1, '', 'admit', 0, 2, 2500, 3000, 'succeeded', NULL),
                (2, '', 'admit', 0, 1, 1000, 2000, 'succeeded', NULL),
                (2, '', 'release', 0, 1, 2000, NULL, NULL, NULL);",
    )
    .execute(&mut old)
    .await
    .unwrap();
    drop(old);

    let store = place.open(Arc::new(SystemClock)).await;
    let ended = store.find_run(RunId(ids[0])).await.unwrap().unwrap();
    assert_eq!(ended.summary.state, RunState::Succeeded);
    assert_eq!(ended.steps[0].output, Some(serde_json::json!("yes")));
    let outcomes: Vec<_> = ended.steps[0].attempts.iter().map(|attempt| attempt.outcome).collect();
    assert_eq!(outcomes, [Some(AttemptOutcome::Failed), Some(AttemptOutcome::Succeeded)]);
    assert_eq!(ended.steps[0].attempts[0].failure.as_ref().unwrap().message, "busy");

    let cut_off = store.find_run(RunId(ids[1])).await.unwrap().unwrap();
    let steps: Vec<_> = cut_off.steps.iter().map(|step| (step.name.as_str(), step.status)).collect();
    assert_eq!(steps, [("admit", StepPhase::Succeeded), ("release", StepPhase::Pending)]);
    assert_eq!(cut_off.steps[1].attempts[0].outcome, Some(AttemptOutcome::Interrupted));
}

#[tokio::test]
async fn several_programs_may_start_at_once_on_a_new_database() {
    for on in [On::Sqlite, On::Postgres] {
        let place = Place::new(on).await;
        let open = || place.open(Arc::new(SystemClock));
        let stores: [_; 4] = tokio::join!(open(), open(), open(), open()).into();
        for store in stores {
            store.ping().await.unwrap();
        }
    }
}
