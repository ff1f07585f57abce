use std::sync::Arc;

use poem::http::StatusCode;
use poem::web::Data;
use poem::{IntoResponse, Response, handler};

use crate::config::Api;
use crate::problems::ProblemResponse;
use crate::wire::{Problem, ReadinessReport};

/// The process is alive; asks nothing else.
#[handler]
pub(crate) fn alive() -> Response {
    Response::builder().content_type("text/plain; charset=utf-8").body("ok\n")
}

/// Whether requests can be taken without being lost.
#[handler]
pub(crate) async fn ready(api: Data<&Arc<Api>>) -> Response {
    let report = ReadinessReport::from(api.operations.readiness().await);
    let status = if report.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::to_vec(&report).unwrap_or_default();
    Response::builder().status(status).content_type("application/json").body(body)
}

/// Prometheus' text format. What the database knows is counted at this moment.
#[handler]
pub(crate) async fn scrape(api: Data<&Arc<Api>>) -> Response {
    let Some(handle) = &api.config.metrics else {
        let sentence = "no metrics are recorded in this process";
        return ProblemResponse(Problem::new(StatusCode::NOT_FOUND, "no_metrics", sentence)).into_response();
    };
    match api.operations.counts().await {
        Ok(counts) => {
            for (state, count) in counts.environments {
                metrics::gauge!("seatrial_previews", "state" => state.as_str()).set(count as f64);
            }
            for (state, count) in counts.runs {
                metrics::gauge!("seatrial_runs", "state" => state.as_str()).set(count as f64);
            }
            metrics::gauge!("seatrial_database_up").set(1.0);
        }
        Err(error) => {
            tracing::warn!(%error, "the gauges could not be counted");
            metrics::gauge!("seatrial_database_up").set(0.0);
        }
    }
    Response::builder().content_type("text/plain; version=0.0.4; charset=utf-8").body(handle.render())
}
