//! `/api/v1`, described by OpenAPI. One file for each resource.

mod audit;
mod clusters;
mod deliveries;
mod errors;
mod events;
mod logs;
mod me;
mod operators;
mod preview_insight;
mod previews;
mod projects;
mod runs;
mod shapes;
mod spec;
mod teams;
mod text;
mod tokens;

use poem_openapi::param::Query;
use poem_openapi::{ContactObject, LicenseObject, OpenApiService, Tags};
use seatrial_operations::views::PageRequest;

pub(crate) use runs::run_id;
pub use spec::description;
pub(crate) use spec::{allowed_methods, describe, takes};

type Resources = (
    previews::Previews,
    preview_insight::PreviewInsight,
    logs::Logs,
    runs::Runs,
    deliveries::Deliveries,
    events::Events,
    projects::Projects,
    clusters::Clusters,
    (me::Myself, teams::Teams, operators::Operators, tokens::Tokens),
    audit::Audit,
);

#[derive(Tags)]
enum Tag {
    /// One preview for each pull request.
    Previews,
    /// Runs of workflows, and their journals.
    Runs,
    /// What GitHub sent.
    Deliveries,
    /// What happens now.
    Events,
    /// Repositories, the teams they belong to, and their secrets.
    Projects,
    /// Where previews run.
    Clusters,
    /// Teams, operators and tokens.
    Access,
    /// Who did what.
    Audit,
}

pub(crate) fn service() -> OpenApiService<Resources, ()> {
    let resources = (
        previews::Previews,
        preview_insight::PreviewInsight,
        logs::Logs,
        runs::Runs,
        deliveries::Deliveries,
        events::Events,
        projects::Projects,
        clusters::Clusters,
        (me::Myself, teams::Teams, operators::Operators, tokens::Tokens),
        audit::Audit,
    );
    OpenApiService::new(resources, "Seatrial", env!("CARGO_PKG_VERSION"))
        .description(spec::DESCRIPTION)
        .license(LicenseObject::new("Apache-2.0").url("https://www.apache.org/licenses/LICENSE-2.0"))
        .contact(ContactObject::new().name("Seatrial's maintainers"))
        .server("/api/v1")
}

fn page(after: Query<Option<String>>, limit: Query<Option<u32>>) -> PageRequest {
    PageRequest { after: after.0, limit: limit.0.unwrap_or(PageRequest::default().limit) }
}
