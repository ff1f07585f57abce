//! Takes the values of a project's secrets out of what is shown.

use bytes::Bytes;
use secrecy::{ExposeSecret as _, SecretString};

use crate::failure::FailureSnapshot;
use crate::ports::ProjectSecret;

/// Shorter ones would mask ordinary words.
const SHORTEST: usize = 6;
const MASKED: &str = "***";

/// Values that are shown as `***`. A value of several lines is masked line by line, as logs show it.
#[derive(Clone, Default)]
pub struct Mask(Vec<SecretString>);

impl Mask {
    pub fn new(secrets: &[ProjectSecret]) -> Self {
        let lines = secrets.iter().flat_map(|secret| secret.value.expose_secret().lines());
        let mut values: Vec<String> =
            lines.map(str::trim).filter(|line| line.len() >= SHORTEST).map(str::to_owned).collect();
        // The longest first, so that a value that is part of another does not hide it.
        values.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
        values.dedup();
        Self(values.into_iter().map(SecretString::from).collect())
    }

    /// There is nothing to take out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn text(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for value in &self.0 {
            if text.contains(value.expose_secret()) {
                text = text.replace(value.expose_secret(), MASKED);
            }
        }
        text
    }

    /// The same for log lines, which need not be text.
    pub fn bytes(&self, line: Bytes) -> Bytes {
        let found = |value: &SecretString| {
            let value = value.expose_secret().as_bytes();
            line.windows(value.len()).any(|part| part == value)
        };
        if self.0.iter().any(found) { Bytes::from(self.text(&String::from_utf8_lossy(&line))) } else { line }
    }

    /// Every text of the snapshot.
    pub fn snapshot(&self, snapshot: FailureSnapshot) -> FailureSnapshot {
        if self.0.is_empty() {
            return snapshot;
        }
        // Through JSON, so that no field is forgotten.
        let masked = serde_json::to_value(&snapshot).ok().map(|value| self.json(value));
        masked.and_then(|value| serde_json::from_value(value).ok()).unwrap_or(snapshot)
    }

    /// Every text in a value.
    pub fn json(&self, value: serde_json::Value) -> serde_json::Value {
        use serde_json::Value;
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => Value::Array(items.into_iter().map(|item| self.json(item)).collect()),
            Value::Object(fields) => {
                Value::Object(fields.into_iter().map(|(name, value)| (name, self.json(value))).collect())
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(values: &[&str]) -> Mask {
        let secret =
            |value: &&str| ProjectSecret { name: "A".parse().unwrap(), value: SecretString::from((*value).to_owned()) };
        Mask::new(&values.iter().map(secret).collect::<Vec<_>>())
    }

    #[test]
    fn values_are_masked_wherever_they_are() {
        let mask = mask(&["hunter2", "hunter2-long", "-----BEGIN-----\nabcdefgh\n"]);
        assert_eq!(mask.text("a hunter2-long b hunter2 c"), "a *** b *** c");
        assert_eq!(mask.text("key: abcdefgh"), "key: ***");
        assert_eq!(mask.bytes(Bytes::from_static(b"x hunter2 \xff\n")), Bytes::from("x *** \u{fffd}\n"));
        assert_eq!(mask.bytes(Bytes::from_static(b"x \xff\n")), Bytes::from_static(b"x \xff\n"));
        assert_eq!(mask.json(serde_json::json!({ "a": ["hunter2", 1] })), serde_json::json!({ "a": ["***", 1] }));
    }

    #[test]
    fn short_values_are_left_alone() {
        assert_eq!(mask(&["true", "8080"]).text("true 8080"), "true 8080");
    }
}
