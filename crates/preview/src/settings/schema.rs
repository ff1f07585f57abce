//! The JSON Schema of `.seatrial.yaml`, for editors.

use schemars::{Schema, SchemaGenerator, json_schema};

use super::{Chart, Image, Settings};

/// The schema, as `api/seatrial-yaml.schema.json` has it. Editors check with it as one types;
/// [`super::parse`] is stricter and has the better sentences.
pub fn json_schema() -> serde_json::Value {
    schemars::schema_for!(Settings).to_value()
}

pub fn version(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "const": 1 })
}

// A key that is written must have a value, so these are not `null` as an `Option`'s would be.
pub fn chart(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<Chart>()
}

pub fn image(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<Image>()
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
