//! A worker is paused past its lease at every point, and goes on when another has taken its runs
//! over, or has finished them. What it records after that under its old lease is nothing; no effect
//! is recorded twice.

use seatrial_engine::Held;
use tokio_util::sync::CancellationToken;

use crate::broken::Fault;
use crate::checks::{Picture, nothing_overlaps, unrecorded};
use crate::crash::undisturbed;
use crate::place::On;
use crate::process::{Life, Point};
use crate::stage::{Actor, Effect, Ground, Stage, alone};
use crate::stories::{Client, Story};

alone_on_each_store!(
    paused_in_a_run_of_steps,
    paused_between_retries,
    paused_before_and_after_a_signal,
    paused_while_a_child_runs,
    paused_in_a_cancelled_run,
    paused_in_a_superseded_run,
    it_wakes_after_the_newer_run_has_begun,
);

fn paused_in_a_run_of_steps(on: On) {
    sweep(on, Story::Steps, Fault::None).unwrap();
}

fn paused_between_retries(on: On) {
    sweep(on, Story::Retries, Fault::None).unwrap();
}

fn paused_before_and_after_a_signal(on: On) {
    sweep(on, Story::Signalled, Fault::None).unwrap();
}

fn paused_while_a_child_runs(on: On) {
    sweep(on, Story::Child, Fault::None).unwrap();
}

fn paused_in_a_cancelled_run(on: On) {
    sweep(on, Story::Cancelled, Fault::None).unwrap();
}

fn paused_in_a_superseded_run(on: On) {
    sweep(on, Story::Superseded, Fault::None).unwrap();
}

/// When the paused worker goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wakes {
    /// The other has taken a run over and has done nothing with it yet.
    WhenTakenOver,
    WhenAllHasEnded,
}

/// Every point of the first worker, until the story ends before the point is reached.
pub fn sweep(on: On, story: Story, fault: Fault) -> Result<(), String> {
    let ground = Ground::new(on);
    let expected = alone(undisturbed(&ground, story, fault))?;
    for wakes in [Wakes::WhenTakenOver, Wakes::WhenAllHasEnded] {
        let mut reached = 0;
        for number in 1.. {
            let mut is_over = false;
            for point in [Point::Before(number), Point::After(number)] {
                let played = alone(paused(&ground, story, point, wakes, fault, &expected));
                is_over |= !played.map_err(|reason| format!("{story:?}, paused {point:?}, {wakes:?}: {reason}"))?;
            }
            if is_over {
                break;
            }
            reached = number;
        }
        assert!(reached > 3, "{story:?} has only {reached} points");
    }
    Ok(())
}

/// False when the story ended before the point was reached.
async fn paused(
    ground: &Ground,
    story: Story,
    point: Point,
    wakes: Wakes,
    fault: Fault,
    expected: &Picture,
) -> Result<bool, String> {
    let stage = Stage::new(ground, fault).await;
    let outside = stage.process(Point::Never, Life::Runs).await;
    let one = stage.process(point, Life::Paused).await;
    let _zombie = one.works("one");
    let has_ended = CancellationToken::new();
    let client = async {
        let told = Client { stage: &stage, through: &outside }.tells(story).await;
        has_ended.cancel();
        told
    };
    let (told, heir) = tokio::join!(client, takes_over(&stage, &one, wakes, &has_ended));
    told?;
    let Some(heir) = heir else { return Ok(false) };
    let picture = Picture::of(&stage, &outside).await?;
    picture.equals(expected, &[], &heir.in_flight)?;

    let before = outside.runs().await;
    one.process.becomes(Life::Runs);
    for _ in 0..3 {
        stage.settles().await;
        stage.clock.leap();
    }
    stage.settles().await;
    nothing_is_written_under_a_lost_lease(&one, &heir.taken_over)?;
    if outside.runs().await != before || Picture::of(&stage, &outside).await? != picture {
        return Err(format!("it has changed what had ended: {:?}", stage.world.done()));
    }
    nothing_overlaps(&stage.world.done())?;
    Ok(true)
}

struct Heir {
    /// Kept, so that it goes on to the end.
    _process: Actor,
    /// Applied by the first worker, and not recorded when it was paused.
    in_flight: Vec<String>,
    /// What the heir has claimed, up to its own pause if it had one.
    taken_over: Vec<Held>,
}

/// Another worker takes over once the first has been paused; `None` when it never was.
async fn takes_over(stage: &Stage, one: &Actor, wakes: Wakes, has_ended: &CancellationToken) -> Option<Heir> {
    tokio::select! {
        () = one.process.stopped() => {}
        () = has_ended.cancelled() => return None,
    }
    let stands_still = stage.stands_still().await;
    let in_flight = unrecorded(&stage.world.done(), one).iter().map(Effect::name).collect();
    drop(stands_still);
    let pauses = if wakes == Wakes::WhenTakenOver { Point::Claimed } else { Point::Never };
    let two = stage.process(pauses, Life::Paused).await;
    let _heir = two.works("two");
    if wakes == Wakes::WhenTakenOver {
        tokio::select! {
            () = two.process.stopped() => {}
            () = has_ended.cancelled() => {}
        }
        one.process.becomes(Life::Runs);
        stage.settles().await;
    }
    two.process.becomes(Life::Runs);
    has_ended.cancelled().await;
    let taken_over = two.process.claimed_before_pause();
    Some(Heir { _process: two, in_flight, taken_over })
}

fn nothing_is_written_under_a_lost_lease(zombie: &Actor, taken_over: &[Held]) -> Result<(), String> {
    for entry in zombie.process.written().iter().filter(|entry| entry.after_pause) {
        if taken_over.iter().any(|held| held.run == entry.run && held.epoch > entry.epoch) {
            return Err(format!("it has recorded under a lease that was lost: {entry:?}"));
        }
    }
    Ok(())
}

/// The old run's worker is paused in the middle of a step; the newer run begins only after the old
/// one has been cleaned up by another, and nothing more is recorded of the old one.
fn it_wakes_after_the_newer_run_has_begun(on: On) {
    let ground = Ground::new(on);
    alone(async {
        let stage = Stage::new(&ground, Fault::None).await;
        let outside = stage.process(Point::Never, Life::Runs).await;
        let one = stage.process(Point::Never, Life::Paused).await;
        let _zombie = one.works("one");
        let client = Client { stage: &stage, through: &outside };
        client.starts_held("old").await.unwrap();
        client.sees_begun("old/held").await.unwrap();
        stage.settles().await;
        one.process.becomes(Life::Paused);

        let two = stage.process(Point::Never, Life::Runs).await;
        let _heir = two.works("two");
        client.starts_held("new").await.unwrap();
        client.sees_begun("new/held").await.unwrap();
        stage.settles().await;
        let before = outside.runs().await;
        one.process.becomes(Life::Runs);
        stage.settles().await;
        let after = outside.runs().await;

        assert_eq!(after, before);
        let done: Vec<_> = stage.world.done().iter().map(Effect::name).collect();
        assert_eq!(done, ["old/one", "old/undo", "old/forget", "new/one"]);
        let written_since = one.process.written().into_iter().filter(|entry| entry.after_pause).count();
        assert_eq!(written_since, 0);
    });
}
