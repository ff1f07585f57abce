//! The circuit breaker: when GitHub does not answer, it is not asked by everybody all the time.
//!
//! Closed, requests pass. After [`FAILURES`] failures in a row it opens: nothing is asked until a
//! wait has passed. Then one request goes as a probe; an answer closes the breaker, a further
//! failure doubles the wait. Nobody waits in here: who is refused is told how long, and the
//! engine's durable retry does the waiting.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// So many requests in a row without an answer, or with one from GitHub's front door (5xx).
pub(crate) const FAILURES: u32 = 5;
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// While a probe is on its way.
const PROBE_WAIT: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(crate) struct Breaker {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Instant,
    wait: Duration,
    probing: bool,
}

impl Breaker {
    /// Leave for one request; or how long to wait before asking again.
    pub(crate) fn admit(&self, now: Instant) -> Result<Permit<'_>, Duration> {
        let mut state = self.lock();
        let probe = match &mut state.open {
            None => false,
            Some(open) if now < open.until => return Err(open.until - now),
            Some(open) if open.probing => return Err(PROBE_WAIT),
            Some(open) => {
                open.probing = true;
                true
            }
        };
        Ok(Permit { breaker: self, probe, told: false })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Leave for one request. Dropped without a word, the request was given up on our side: that says
/// nothing of GitHub, and the next one may be the probe.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    breaker: &'a Breaker,
    probe: bool,
    told: bool,
}

impl Permit<'_> {
    /// GitHub is there, whatever it says.
    pub(crate) fn answered(mut self) {
        self.told = true;
        *self.breaker.lock() = State::default();
    }

    pub(crate) fn failed(mut self, now: Instant) {
        self.told = true;
        let mut state = self.breaker.lock();
        match &mut state.open {
            Some(open) if self.probe => {
                open.wait = (open.wait * 2).min(LONGEST_WAIT);
                open.until = now + open.wait;
                open.probing = false;
            }
            // It was on its way when the breaker opened.
            Some(_) => {}
            None => {
                state.failures += 1;
                if state.failures >= FAILURES {
                    state.open = Some(Open { until: now + FIRST_WAIT, wait: FIRST_WAIT, probing: false });
                }
            }
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.probe
            && !self.told
            && let Some(open) = &mut self.breaker.lock().open
        {
            open.probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(breaker: &Breaker, now: Instant) {
        for _ in 0..FAILURES {
            breaker.admit(now).unwrap().failed(now);
        }
        assert_eq!(breaker.admit(now).unwrap_err(), FIRST_WAIT);
    }

    #[test]
    fn it_opens_after_failures_in_a_row_only() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..3 {
            for _ in 1..FAILURES {
                breaker.admit(now).unwrap().failed(now);
            }
            breaker.admit(now).unwrap().answered();
        }
        opened(&breaker, now);
    }

    #[test]
    fn one_probe_at_a_time_and_an_answer_closes() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        opened(&breaker, start);
        let now = start + FIRST_WAIT;
        assert!(breaker.admit(now - Duration::from_millis(1)).is_err());
        let probe = breaker.admit(now).unwrap();
        assert_eq!(breaker.admit(now).unwrap_err(), PROBE_WAIT);
        probe.answered();
        let both = (breaker.admit(now).unwrap(), breaker.admit(now).unwrap());
        both.0.failed(now);
        assert!(breaker.admit(now).is_ok(), "the count begins anew");
    }

    #[test]
    fn probes_that_fail_wait_longer_up_to_a_minute() {
        let (breaker, mut now) = (Breaker::default(), Instant::now());
        opened(&breaker, now);
        now += FIRST_WAIT;
        for seconds in [10, 20, 40, 60, 60] {
            breaker.admit(now).unwrap().failed(now);
            let wait = Duration::from_secs(seconds);
            assert_eq!(breaker.admit(now).unwrap_err(), wait);
            now += wait;
        }
    }

    #[test]
    fn a_probe_that_was_given_up_lets_another_through() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        opened(&breaker, start);
        let now = start + FIRST_WAIT;
        drop(breaker.admit(now).unwrap());
        assert!(breaker.admit(now).is_ok());
    }

    #[test]
    fn stragglers_do_not_prolong_the_wait_but_may_end_it() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        let late = [breaker.admit(now).unwrap(), breaker.admit(now).unwrap()];
        opened(&breaker, now);
        let later = now + Duration::from_secs(3);
        let [failed, answered] = late;
        failed.failed(later);
        assert_eq!(breaker.admit(now).unwrap_err(), FIRST_WAIT);
        answered.answered();
        assert!(breaker.admit(now).is_ok());
    }
}
