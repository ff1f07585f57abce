//! The JSON Schema of `.seatrial.yaml`, for editors.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{Image, Settings, Sleep, WaitFor};

/// The schema, as `api/seatrial-yaml.schema.json` has it. Editors check with it as one types;
/// [`super::parse`] is stricter and has the better sentences.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Settings).to_value()
}

pub fn version(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "const": 1 })
}

pub fn chart(_: &mut SchemaGenerator) -> Schema {
    let version = "The exact version of the chart, like 1.2.3. Not a range.";
    json_schema!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "path": {
                "description": "Folder of the chart, from the root of the repository, at the pull request's commit.",
                "type": "string",
            },
            "oci": {
                "description": "A chart in a container registry, without its version.",
                "type": "string",
                "pattern": "^oci://[^/@?#]+/[^:@?#]+$",
                "examples": ["oci://ghcr.io/acme/charts/shop"],
            },
            "repository": {
                "description": "The address of a chart repository: the folder of its index.yaml.",
                "type": "string",
                "pattern": "^https?://[^/@?#]+(/[^?#]*)?$",
                "examples": ["https://charts.example.com"],
            },
            "name": { "description": "The chart's name in the chart repository.", "type": "string" },
            "version": { "description": version, "type": "string" },
        },
        // One of the three ways, and nothing of another.
        "oneOf": [
            { "required": ["path"], "maxProperties": 1 },
            { "required": ["oci", "version"], "maxProperties": 2 },
            { "required": ["repository", "name", "version"], "maxProperties": 3 },
        ],
    })
}

// A key that is written must have a value, so these are not `null` as an `Option`'s would be.
pub fn image(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<Image>()
}

pub fn wait_for(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<WaitFor>()
}

pub fn sleep(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<Sleep>()
}

pub fn secret(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?/[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$",
        "examples": ["previews/registry-credentials"],
    })
}

pub fn service_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" })
}

pub fn port(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "integer", "minimum": 1, "maximum": 65535 })
}

pub fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^[0-9]+[smhd]$", "examples": ["90s", "3m", "2h"] })
}

pub fn quota(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "cpu": { "description": "Processors that all containers together may use.", "type": ["string", "number"], "default": "2" },
            "memory": { "description": "Memory that all containers together may use.", "type": ["string", "integer"], "default": "2Gi" },
            "pods": { "description": "How many pods there may be.", "type": "integer", "minimum": 1, "maximum": 500, "default": 10 },
        },
    })
}

pub fn network(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "egress": {
                "description": "`internet` allows public addresses, without private and link-local ranges; `none` allows neither.",
                "enum": ["internet", "none"],
                "default": "internet",
            },
            "allowNamespaces": {
                "description": "Namespaces of the cluster that the preview may talk to.",
                "type": "array",
                "items": { "type": "string", "pattern": "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" },
                "default": [],
            },
        },
    })
}

pub fn pod_security(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": ["restricted", "baseline"], "default": "restricted" })
}
