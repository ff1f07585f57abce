//! The process is stopped before and after every call that writes to the journal, and another one
//! of the same name goes on. The result is the same, and every effect is there: once, or twice for
//! the one step that was in flight.

use crate::broken::Fault;
use crate::checks::{Picture, nothing_overlaps, one_a_run, unrecorded};
use crate::place::On;
use crate::process::{Life, Point};
use crate::stage::{Ground, Stage, alone};
use crate::stories::{Client, Story};

alone_on_each_store!(
    steps,
    retries,
    a_durable_sleep,
    a_signal,
    a_signal_sent_before_the_wait,
    a_child,
    a_cancelled_run_that_cleans_up,
    a_superseded_run,
);

fn steps(on: On) {
    sweep(on, Story::Steps, Fault::None).unwrap();
}

fn retries(on: On) {
    sweep(on, Story::Retries, Fault::None).unwrap();
}

fn a_durable_sleep(on: On) {
    sweep(on, Story::Sleeps, Fault::None).unwrap();
}

fn a_signal(on: On) {
    sweep(on, Story::Signalled, Fault::None).unwrap();
}

fn a_signal_sent_before_the_wait(on: On) {
    sweep(on, Story::SignalledEarly, Fault::None).unwrap();
}

fn a_child(on: On) {
    sweep(on, Story::Child, Fault::None).unwrap();
}

fn a_cancelled_run_that_cleans_up(on: On) {
    sweep(on, Story::Cancelled, Fault::None).unwrap();
}

fn a_superseded_run(on: On) {
    sweep(on, Story::Superseded, Fault::None).unwrap();
}

/// Every point of the story, until it ends before the point is reached.
pub fn sweep(on: On, story: Story, fault: Fault) -> Result<(), String> {
    let ground = Ground::new(on);
    let expected = alone(undisturbed(&ground, story, fault))?;
    for number in 1.. {
        for point in [Point::Before(number), Point::After(number)] {
            let played = alone(crashed(&ground, story, point, fault, &expected));
            if !played.map_err(|reason| format!("{story:?}, crashed {point:?}: {reason}"))? {
                assert!(number > 5, "{story:?} has only {number} points");
                return Ok(());
            }
        }
    }
    Ok(())
}

/// How the story ends when nothing goes wrong.
pub async fn undisturbed(ground: &Ground, story: Story, fault: Fault) -> Result<Picture, String> {
    let stage = Stage::new(ground, fault).await;
    let only = stage.process(Point::Never, Life::Runs).await;
    let _worker = only.works("w");
    Client { stage: &stage, through: &only }.tells(story).await?;
    stage.settles().await;
    let picture = Picture::of(&stage, &only).await?;
    match picture.effects.iter().find(|(_, applied)| **applied != 1) {
        None => Ok(picture),
        Some((name, applied)) => Err(format!("{name} was applied {applied} times without a crash")),
    }
}

/// False when the story ended before the point was reached.
async fn crashed(
    ground: &Ground,
    story: Story,
    point: Point,
    fault: Fault,
    expected: &Picture,
) -> Result<bool, String> {
    let stage = Stage::new(ground, fault).await;
    let first = stage.process(point, Life::Dead).await;
    let worker = first.works("w");
    let client = Client { stage: &stage, through: &first };
    tokio::select! {
        biased;
        () = first.process.stopped() => {}
        told = client.tells(story) => return told.map(|()| false),
    }
    stage.settles().await;
    worker.abort();
    let in_flight = unrecorded(&stage.world.done(), &first);
    one_a_run(&in_flight)?;

    let second = stage.process(Point::Never, Life::Runs).await;
    let _worker = second.works("w");
    Client { stage: &stage, through: &second }.tells(story).await?;
    stage.settles().await;
    let again: Vec<_> = in_flight.iter().map(crate::stage::Effect::name).collect();
    Picture::of(&stage, &second).await?.equals(expected, &again, &[])?;
    nothing_overlaps(&stage.world.done())?;
    Ok(true)
}
