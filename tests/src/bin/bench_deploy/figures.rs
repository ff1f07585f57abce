//! From deployments to figures.

use serde_json::{Map, Value, json};

/// Where one deployment's time went, from its event to the comment that says that it is live.
pub(crate) struct Deploy {
    pub(crate) total_ms: f64,
    /// All runs of helm.
    pub(crate) helm_ms: f64,
    /// From helm's end until the pods were ready.
    pub(crate) pods_ms: f64,
    /// By the run's journal, in order.
    pub(crate) steps: Vec<(String, f64)>,
}

impl Deploy {
    /// What neither helm nor the pods took.
    fn own_ms(&self) -> f64 {
        self.total_ms - self.helm_ms - self.pods_ms
    }
}

pub(crate) fn overheads(deploys: &[Deploy]) -> Value {
    json!({
        "own_overhead_ms": numbers(deploys, Deploy::own_ms),
        "helm_ms": median(deploys.iter().map(|deploy| deploy.helm_ms)),
        "pods_ms": median(deploys.iter().map(|deploy| deploy.pods_ms)),
    })
}

/// The median of each step.
pub(crate) fn steps(deploys: &[Deploy]) -> Value {
    let mut report = Map::new();
    for (name, _) in deploys.first().map(|deploy| deploy.steps.as_slice()).unwrap_or_default() {
        let times = deploys.iter().flat_map(|deploy| &deploy.steps).filter(|(step, _)| step == name);
        report.insert(name.clone(), median(times.map(|(_, ms)| *ms)));
    }
    Value::Object(report)
}

pub(crate) fn numbers(deploys: &[Deploy], of: impl Fn(&Deploy) -> f64) -> Value {
    let sorted = sorted(deploys.iter().map(of));
    json!({ "p50": percentile(&sorted, 50), "p95": percentile(&sorted, 95) })
}

fn median(numbers: impl Iterator<Item = f64>) -> Value {
    json!(percentile(&sorted(numbers), 50))
}

fn sorted(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = numbers.collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

/// The smallest that so many of a hundred do not exceed; nothing of nothing.
fn percentile(sorted: &[f64], percent: usize) -> Option<f64> {
    let place = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(place - 1).map(|number| (number * 10.0).round() / 10.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_numbers_that_were_measured() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!([50, 95].map(|percent| percentile(&hundred, percent)), [Some(50.0), Some(95.0)]);
        assert_eq!(percentile(&[3.0, 4.0], 95), Some(4.0));
        assert_eq!(percentile(&[3.04], 50), Some(3.0));
        assert_eq!(percentile(&[], 50), None);
    }
}
