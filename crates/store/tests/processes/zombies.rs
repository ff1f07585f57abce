//! Processes that are stopped (SIGSTOP) past their lease and continued after others took over.

use std::sync::Arc;
use std::time::Duration;

use seatrial_engine::{AttemptOutcome, RunState, SystemClock};
use sqlx::{Connection as _, PgConnection};

use crate::child::{Process, orders};
use crate::place::{On, Place};
use crate::process::result;
use crate::support::{ended, eventually, journal, start};
use crate::witness::{check_ends, effects, read, runs_at};

#[tokio::test]
async fn a_process_continued_after_its_lease_records_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(On::Postgres).await;
    let store = place.open(Arc::new(SystemClock)).await;
    let runs = start(&store, 6).await;
    let mut zombies = orders(place.url(), &folder.path().join("witness"));
    let (zombie_goes_on, heir_goes_on) = (folder.path().join("zombie"), folder.path().join("heir"));
    zombies.lease = Duration::from_secs(1);
    zombies.hold = Some((2, zombie_goes_on.clone()));
    let mut heirs = zombies.clone();
    (heirs.name, heirs.life, heirs.hold) = ("heir".to_owned(), 2, Some((4, heir_goes_on.clone())));
    heirs.lease = Duration::from_secs(60);
    let is_held_at = async |held: usize, by: u32| {
        eventually("all runs are held", async || {
            (runs_at(&read(&zombies.witness), held, by) == runs.len()).then_some(())
        })
        .await;
    };

    let zombie = Process::start(&zombies);
    is_held_at(2, 1).await;
    zombie.stop();
    let heir = Process::start(&heirs);
    is_held_at(4, 2).await;
    let taken_over = journal(&store, &runs).await;

    // Its steps end when it goes on, and it would record them, go on with the next, and renew.
    std::fs::write(&zombie_goes_on, "").unwrap();
    zombie.go_on();
    zombie.end().await;
    assert_eq!(journal(&store, &runs).await, taken_over);
    assert!(taken_over.iter().all(|run| run.state == RunState::Running), "{taken_over:?}");

    std::fs::write(&heir_goes_on, "").unwrap();
    ended(&store, runs.len()).await;
    heir.end().await;
    let (lines, journal) = (read(&zombies.witness), journal(&store, &runs).await);
    check_ends(&lines, &journal).unwrap();
    assert!(effects(&lines).all(|(_, step, life)| if life == 1 { step <= 2 } else { step >= 2 }), "{lines:?}");
    for run in journal {
        // More than one when the lease was too short for a busy machine.
        assert_eq!(run.steps[2].attempts.first(), Some(&Some(AttemptOutcome::Interrupted)));
        assert_eq!(run.steps[2].output, Some(result(2, 2).into()));
    }
}

#[tokio::test]
async fn two_processes_share_a_database_and_one_of_them_is_stopped_now_and_then() {
    const ROUND: usize = 16;
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(On::Postgres).await;
    let store = place.open(Arc::new(SystemClock)).await;
    let mut zombies = orders(place.url(), &folder.path().join("witness"));
    (zombies.lease, zombies.step) = (Duration::from_secs(1), Duration::from_millis(30));
    let mut steadies = zombies.clone();
    (steadies.name, steadies.life, steadies.slots) = ("steady".to_owned(), 2, 4);
    let (zombie, steady) = (Process::start(&zombies), Process::start(&steadies));
    let mut runs = Vec::new();
    for round in 1..=3 {
        let before = effects(&read(&zombies.witness)).filter(|(.., life)| *life == 1).count();
        runs.extend(start(&store, ROUND).await);
        eventually("the one that is stopped has work", async || {
            let done = effects(&read(&zombies.witness)).filter(|(.., life)| *life == 1).count() - before;
            (done > 10 * round).then_some(())
        })
        .await;
        zombie.stop();
        ended(&store, runs.len()).await;
        zombie.go_on();
    }
    zombie.end().await;
    steady.end().await;
    let journal = journal(&store, &runs).await;
    check_ends(&read(&zombies.witness), &journal).unwrap();
    assert!(journal.iter().any(|run| run.claims > 1), "nothing was taken over");
}

#[tokio::test]
async fn a_process_stopped_in_the_middle_of_a_claim_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let place = Place::new(On::Postgres).await;
    let store = place.open(Arc::new(SystemClock)).await;
    let runs = start(&store, 3).await;
    let mut first = orders(place.url(), &folder.path().join("witness"));
    first.hold = Some((0, folder.path().join("never")));
    let process = Process::start(&first);
    eventually("all runs are held", async || (runs_at(&read(&first.witness), 0, 1) == runs.len()).then_some(())).await;
    process.kill();

    // A claim of theirs has taken them and waits for their attempts when the process is stopped.
    let mut connection = PgConnection::connect(&place.url()).await.unwrap();
    let mut lock = connection.begin().await.unwrap();
    sqlx::query("LOCK TABLE attempts").execute(&mut *lock).await.unwrap();
    let mut stopped = first.clone();
    (stopped.life, stopped.hold) = (2, None);
    let process = Process::start(&stopped);
    let is_claiming = async |how: &str| {
        eventually("the claim is in the middle", async || {
            let mut connection = PgConnection::connect(&place.url()).await.unwrap();
            let claims: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                   AND application_name = 'seatrial' AND (wait_event_type = $1 OR state = $1)",
            )
            .bind(how)
            .fetch_one(&mut connection)
            .await
            .unwrap();
            (claims == 1).then_some(())
        })
        .await;
    };
    is_claiming("Lock").await;
    process.stop();
    lock.commit().await.unwrap();
    is_claiming("idle in transaction").await;

    let mut another = stopped.clone();
    (another.name, another.life) = ("another".to_owned(), 3);
    let heir = Process::start(&another);
    ended(&store, runs.len()).await;
    process.go_on();
    process.end().await;
    heir.end().await;
    let (lines, journal) = (read(&first.witness), journal(&store, &runs).await);
    check_ends(&lines, &journal).unwrap();
    assert_eq!(effects(&lines).filter(|(.., life)| *life == 2).count(), 0, "{lines:?}");
}
