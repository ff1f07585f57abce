//! What the framework does not say of requests by itself: how their text looks, what may be
//! `null`, and how a body of another type is answered.

use serde_json::{Map, Value, json};

const UUID: &str = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
/// Half of `owner/name`; neither "." nor ".." is one.
const HALF: &str =
    "([A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}|\\.[A-Za-z0-9_-][A-Za-z0-9_.-]{0,98}|\\.\\.[A-Za-z0-9_.-]{1,98})";
const CONTROL: &str = "\\u0000-\\u001f\\u007f-\\u009f";

/// How a parameter of this path, or a field of this schema, looks. Operations refuse what does not,
/// in words; validators of the framework would answer with the pattern.
fn shape(of: &str, name: &str) -> Option<Value> {
    let pattern = match (of, name) {
        (_, "run" | "token") => return Some(json!({ "format": "uuid" })),
        (_, "number") => return Some(json!({ "minimum": 1, "maximum": i32::MAX })),
        (_, "preview") => format!("^({UUID}|pr-[a-z0-9-]{{0,59}}[a-z0-9])$"),
        (_, "repository") => format!("^{HALF}/{HALF}$"),
        (_, "owner") => format!("^{HALF}$"),
        (path, "name") if path.starts_with("/projects/") => format!("^{HALF}$"),
        (_, "team") | ("NewTeam", "name") => "^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$".to_owned(),
        (_, "secret") => "^([A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}|\\.[A-Za-z0-9_-][A-Za-z0-9_.-]{0,98})$".to_owned(),
        // Something that can be read, and nothing that moves the cursor of a terminal.
        ("WantedToken", "name") => format!("^[^{CONTROL}]*[^\\s{CONTROL}][^{CONTROL}]*$"),
        // Empty is the same as absent.
        (_, "pod" | "container") => "^([a-z0-9][a-z0-9.-]{0,252})?$".to_owned(),
        (_, "commit") => "^[0-9a-f]{40}$".to_owned(),
        ("/previews", "after") => "^[0-9]{1,15}_[0-9a-f]{32}$".to_owned(),
        ("/runs" | "/audit", "after") => "^[0-9]{1,18}$".to_owned(),
        ("/tokens", "after") => return Some(json!({ "format": "uuid" })),
        _ => return None,
    };
    Some(json!({ "pattern": pattern }))
}

/// Adds it to a description.
pub(super) fn describe(spec: &mut Value) {
    let mut bodies = Vec::new();
    for (path, operations) in members(spec.get_mut("paths")) {
        for (_, operation) in members(Some(operations)) {
            let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
            for parameter in parameters.into_iter().flatten() {
                let shape = parameter["name"].as_str().and_then(|name| shape(path, name));
                merge(&mut parameter["schema"], shape);
            }
            if operation.get("requestBody").is_none() {
                continue;
            }
            let mut refused = operation["responses"]["400"].clone();
            refused["description"] = json!("The body is not sent as `application/json`.");
            operation["responses"]["415"] = refused;
            bodies.extend(references(&operation["requestBody"]));
        }
    }
    let schemas = &mut spec["components"]["schemas"];
    for (_, schema) in members(Some(schemas)) {
        for (_, field) in members(schema.get_mut("properties")) {
            // The framework writes the description of a reference twice, once as a schema of its
            // own, and generators of clients then take the field for no type at all.
            if let Some(all) = field.get_mut("allOf").and_then(Value::as_array_mut) {
                all.retain(|one| one.get("$ref").is_some());
            }
        }
    }
    let mut described = Vec::new();
    while let Some(name) = bodies.pop() {
        if described.contains(&name) {
            continue;
        }
        bodies.extend(references(&schemas[&name]));
        describe_body(&name, &mut schemas[&name]);
        described.push(name);
    }
}

fn describe_body(of: &str, schema: &mut Value) {
    let required = schema["required"].clone();
    let is_required = |name: &str| required.as_array().is_some_and(|names| names.iter().any(|one| one == name));
    for (name, field) in members(schema.get_mut("properties")) {
        merge(field, shape(of, name));
        // `null` is the same as absent.
        if !is_required(name) {
            if let Some(other) = field.as_object_mut().and_then(|field| field.remove("$ref")) {
                field["allOf"] = json!([{ "$ref": other }]);
            }
            field["nullable"] = json!(true);
        }
    }
}

fn merge(schema: &mut Value, shape: Option<Value>) {
    if let (Some(schema), Some(Value::Object(shape))) = (schema.as_object_mut(), shape) {
        schema.extend(shape);
    }
}

fn members(value: Option<&mut Value>) -> impl Iterator<Item = (&String, &mut Value)> {
    value.and_then(Value::as_object_mut).into_iter().flat_map(Map::iter_mut)
}

/// The names of all schemas that are mentioned.
fn references(value: &Value) -> Vec<String> {
    match value {
        Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| match value.as_str().filter(|_| name == "$ref") {
                Some(target) => target.rsplit('/').next().map(str::to_owned).into_iter().collect(),
                None => references(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}
