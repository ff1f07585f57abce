use seatrial_operations::Readiness;
use serde::Serialize;

/// The answer of `/readyz`.
#[derive(Debug, Clone, Serialize)]
pub struct ReadinessReport {
    pub ready: bool,
    pub checks: Vec<ReadinessCheck>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ReadinessCheck {
    pub name: &'static str,
    pub ok: bool,
    /// Without it nothing can be accepted.
    pub required: bool,
    pub detail: String,
}

impl From<Readiness> for ReadinessReport {
    fn from(readiness: Readiness) -> Self {
        let ready = readiness.is_ready();
        let checks = readiness.checks.into_iter().map(|check| ReadinessCheck {
            name: check.name,
            ok: check.ok,
            required: check.required,
            detail: check.detail,
        });
        Self { ready, checks: checks.collect() }
    }
}
