use poem::{Request, Response, Route, IntoResponse};
use seatrial_operations::Denied;
use crate::wire::Problem;
pub(crate) fn routes() -> Route { Route::new() }
pub(crate) fn error(problem: &Problem) -> Response { problem.detail.clone().into_response() }
pub(crate) fn ask_to_sign_in(denied: Denied, _: &Request) -> Response { denied.to_string().into_response() }
