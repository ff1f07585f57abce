//! The Helm values of a preview: the settings' own, with placeholders filled, and the computed.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Settings;
use crate::ids::{HeadSha, Namespace};

/// What is known of the preview when its values are made.
#[derive(Debug, Clone, PartialEq)]
pub struct Computed {
    pub sha: HeadSha,
    pub number: u64,
    /// The pull request's own branch: anybody's text.
    pub branch: String,
    /// Host of the preview's URL, without the port.
    pub host: String,
    pub url: String,
    pub namespace: Namespace,
}

impl Computed {
    fn lookup(&self, placeholder: &str) -> Option<String> {
        Some(match placeholder {
            "sha" => self.sha.to_string(),
            "shortSha" => self.sha.short().to_owned(),
            "number" => self.number.to_string(),
            "branch" => self.branch.clone(),
            "host" => self.host.clone(),
            "url" => self.url.clone(),
            "namespace" => self.namespace.to_string(),
            _ => return None,
        })
    }
}

/// The names that may stand in braces.
pub const PLACEHOLDERS: [&str; 7] = ["sha", "shortSha", "number", "branch", "host", "url", "namespace"];

/// The image of one commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageName {
    /// Registry and name.
    pub repository: String,
    pub tag: String,
}

impl Settings {
    /// The image that the commit is deployed with, when `image` is set: what `image.wait` waits
    /// for, and what Helm is given.
    pub fn image_name(&self, computed: &Computed) -> Option<ImageName> {
        let image = self.image.as_ref()?;
        Some(ImageName { repository: image.repository.clone(), tag: image_tag(&image.tag, computed) })
    }

    /// The values given to Helm, over the chart's own and those of `valuesFiles`: `values` with
    /// its placeholders filled, then `image.repository` and `image.tag` when `image` is set, then
    /// `seatrial` with `sha`, `number`, `host`, `url`, `tls` (whether the URL is https) and
    /// `namespace`. `host` and `url` are nowhere else: a chart that has a value of its own for them gets it by `values: { host: "{host}" }`.
    pub fn helm_values(&self, computed: &Computed) -> Value {
        let mut values = Map::new();
        for (key, value) in &self.values {
            values.insert(key.clone(), filled(value, computed));
        }
        if let Some(image) = self.image_name(computed) {
            let slot = values.entry("image").or_insert_with(|| json!({}));
            if !slot.is_object() {
                *slot = json!({});
            }
            slot["repository"] = json!(image.repository);
            slot["tag"] = json!(image.tag);
        }
        values.insert(
            "seatrial".to_owned(),
            json!({
                "sha": computed.sha,
                "number": computed.number,
                "host": computed.host,
                "url": computed.url,
                "tls": computed.url.starts_with("https://"),
                "namespace": computed.namespace,
            }),
        );
        Value::Object(values)
    }
}

fn filled(value: &Value, computed: &Computed) -> Value {
    match value {
        Value::String(text) => Value::String(fill(text, |name| computed.lookup(name))),
        Value::Array(items) => Value::Array(items.iter().map(|item| filled(item, computed)).collect()),
        Value::Object(entries) => {
            Value::Object(entries.iter().map(|(key, value)| (key.clone(), filled(value, computed))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// An image tag has an alphabet of its own and at most 128 characters; a branch like `fix/login`
/// becomes `fix-login`.
fn image_tag(template: &str, computed: &Computed) -> String {
    let tag: String = fill(template, |name| computed.lookup(name))
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '-' })
        .take(128)
        .collect();
    // A tag begins with a letter, a digit or an underscore.
    match tag.trim_start_matches(['.', '-']) {
        "" => "latest".to_owned(),
        trimmed => trimmed.to_owned(),
    }
}

/// Replaces each `{name}` that `lookup` knows. One pass: what was put in is not looked at again.
/// Braces around anything else stay as they are.
fn fill(template: &str, lookup: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        rest = &rest[open..];
        // No name is longer, and looking further would take quadratic time.
        let close = rest.char_indices().take(16).find(|(_, c)| *c == '}');
        let name = close.map(|(at, _)| &rest[1..at]);
        match name.and_then(|name| Some((name, lookup(name)?))) {
            Some((name, text)) => {
                out.push_str(&text);
                rest = &rest[name.len() + 2..];
            }
            None => {
                out.push('{');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}
