use std::sync::LazyLock;

use poem::http::Method;
use poem::{Response, handler};
use serde_json::{Value, json};

use super::{service, shapes};

static SPEC: LazyLock<Value> = LazyLock::new(build);

pub(super) const DESCRIPTION: &str = "Seatrial gives every pull request a running preview on Kubernetes.

Every request needs a token, as `Authorization: Bearer <token>`; `seatrial token create` or `POST /tokens` makes one. \
A token sees what belongs to its team: what it may not see answers 404, what it may see but not do answers 403. Errors are `application/problem+json` \
with a stable `code`, a sentence in `detail` that says what to do, and a `pointer` to the field that is wrong. \
Besides the errors of each operation, any request may be refused with 403 `cross_origin` (a browser's session used from another site), \
408 `request_timeout` (after 30 s), 413 `too_large` (bodies have at most 1 MiB) or 421 `host_not_allowed` (a host name that is none of this server's). \
Lists have pages: give the `next` of one page as `after` for the next. Long work answers 202 with the URL of its run. \
JSON that is read has an `ETag`; with it as `If-None-Match` the answer is 304 while nothing has changed. \
POST and PATCH take an `Idempotency-Key`: sent again within a day, a write is not done again and answers as it did first.";

/// The OpenAPI description, as `GET /api/openapi.json` gives it. `api/openapi.json` of the
/// repository is a copy.
pub fn description() -> String {
    format!("{:#}\n", *SPEC)
}

fn build() -> Value {
    let mut spec: Value = serde_json::from_str(&service().spec()).unwrap_or_default();
    // Access is decided before any handler, for all of them alike.
    spec["components"]["securitySchemes"] = json!({
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "A token of a team or an operator, or the value of SEATRIAL_BOOTSTRAP_TOKEN. In a browser, the session of the pages serves as well.",
        }
    });
    spec["security"] = json!([{ "token": [] }]);
    shapes::describe(&mut spec);
    for (method, operation) in operations(&mut spec) {
        match method.as_str() {
            "get" => describe_tag(operation),
            "post" | "patch" => describe_key(operation),
            _ => {}
        }
    }
    spec
}

/// What a path below `/api/v1` takes, as the header `Allow` lists it.
pub(crate) fn allowed_methods(path: &str) -> Option<String> {
    let path = path.strip_prefix("/api/v1")?;
    let fits = |template: &str| {
        let (parts, wanted): (Vec<_>, Vec<_>) = (path.split('/').collect(), template.split('/').collect());
        parts.len() == wanted.len()
            && parts.iter().zip(wanted).all(|(part, wanted)| *part == wanted || wanted.starts_with('{'))
    };
    // The router, too, prefers a path without parameters.
    let paths = SPEC["paths"].as_object()?;
    let (_, operations) =
        paths.iter().filter(|(template, _)| fits(template)).min_by_key(|(path, _)| path.contains('{'))?;
    let mut methods: Vec<String> = operations.as_object()?.keys().map(|method| method.to_uppercase()).collect();
    if methods.iter().any(|method| method == "GET") {
        methods.push("HEAD".to_owned());
    }
    Some(methods.join(", "))
}

/// Whether a path below `/api/v1` takes this method.
pub(crate) fn takes(path: &str, method: &Method) -> bool {
    allowed_methods(path).is_some_and(|methods| methods.split(", ").any(|one| one == method.as_str()))
}

fn operations(spec: &mut Value) -> impl Iterator<Item = (String, &mut Value)> {
    let paths = spec["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    let operations = paths.filter_map(Value::as_object_mut).flat_map(|path| path.iter_mut());
    operations.map(|(method, operation)| (method.clone(), operation))
}

/// What `etag.rs` does for all reads of JSON.
fn describe_tag(operation: &mut Value) {
    let answer = &mut operation["responses"]["200"];
    if answer["content"].as_object().is_none_or(|kinds| !kinds.contains_key("application/json; charset=utf-8")) {
        return;
    }
    answer["headers"]["ETag"] = json!({
        "description": "Stands for this content.",
        "schema": { "type": "string" },
    });
    operation["responses"]["304"] = json!({ "description": "It has not changed since the named `ETag`." });
    add_parameter(
        operation,
        "If-None-Match",
        "The `ETag` of what the caller has already.",
        json!({ "type": "string" }),
    );
}

/// What `idempotency.rs` does for all writes that may not simply be repeated.
fn describe_key(operation: &mut Value) {
    let text = "Chosen by the caller, one for each write, such as a UUID. Sent again with the same key within a day, \
                the write is answered as it was first; another request with it is refused.";
    add_parameter(operation, "Idempotency-Key", text, json!({ "type": "string", "pattern": "^[!-~]{1,200}$" }));
}

fn add_parameter(operation: &mut Value, name: &str, description: &str, schema: Value) {
    let parameter = json!({
        "name": name,
        "in": "header",
        "description": description,
        "required": false,
        "schema": schema,
    });
    match operation["parameters"].as_array_mut() {
        Some(parameters) => parameters.push(parameter),
        None => operation["parameters"] = json!([parameter]),
    }
}

#[handler]
pub(crate) fn describe() -> Response {
    Response::builder().content_type("application/json").body(description())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// poem-openapi writes a path that two resources share twice, and readers see one of them.
    #[test]
    fn each_path_is_described_once() {
        let spec = service().spec();
        let paths: Vec<&str> = spec.lines().filter(|line| line.starts_with("    \"/")).collect();
        let mut once = paths.clone();
        once.sort_unstable();
        once.dedup();
        assert!(paths.len() > 10, "the description's layout has changed");
        assert_eq!(once.len(), paths.len());
    }
}
