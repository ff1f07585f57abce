use std::collections::HashMap;

use seatrial_engine::{Entry, RunId};

/// A statement writes one entry of a run. There may be a second one at the same time, of another
/// epoch, or of an execution that was dropped while its write was under way: it goes into a batch
/// of its own, after the first, so that each is fenced by itself.
pub(crate) fn one_entry_a_run<T>(entries: Vec<(Entry, T)>) -> Vec<Vec<(Entry, T)>> {
    let mut batches: Vec<Vec<(Entry, T)>> = Vec::new();
    let mut seen: HashMap<RunId, usize> = HashMap::with_capacity(entries.len());
    for entry in entries {
        let earlier = seen.entry(entry.0.run).or_default();
        if batches.len() == *earlier {
            batches.push(Vec::new());
        }
        batches[*earlier].push(entry);
        *earlier += 1;
    }
    batches
}
