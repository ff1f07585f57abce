//! Answers and refusals in GitHub's form.

use bytes::Bytes;
use serde_json::{Value, json};

/// Either an answer or a refusal; both go to the caller.
pub(crate) type Answer = Result<Reply, Refusal>;

/// What goes back to the caller, before the headers every answer has.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) content: Content,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    Empty,
    Json(Value),
    Bytes { kind: String, data: Bytes },
}

impl Reply {
    pub(crate) fn json(status: u16, value: Value) -> Self {
        Self { status, headers: Vec::new(), content: Content::Json(value) }
    }

    pub(crate) fn ok(value: Value) -> Self {
        Self::json(200, value)
    }

    pub(crate) fn created(value: Value) -> Self {
        let location = value.get("url").and_then(Value::as_str).map(String::from);
        let reply = Self::json(201, value);
        match location {
            Some(url) => reply.header("Location", url),
            None => reply,
        }
    }

    pub(crate) fn no_content() -> Self {
        Self { status: 204, headers: Vec::new(), content: Content::Empty }
    }

    pub(crate) fn bytes(kind: &str, data: impl Into<Bytes>) -> Self {
        Self { status: 200, headers: Vec::new(), content: Content::Bytes { kind: kind.to_owned(), data: data.into() } }
    }

    pub(crate) fn redirect(status: u16, location: String) -> Self {
        Self { status, headers: vec![("Location".to_owned(), location)], content: Content::Empty }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// Why a request is not answered as asked.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    message: String,
    errors: Vec<Value>,
}

impl Refusal {
    pub(crate) fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), errors: Vec::new() }
    }

    pub(crate) fn not_found() -> Self {
        Self::new(404, "Not Found")
    }

    pub(crate) fn unprocessable(message: impl Into<String>) -> Self {
        Self::new(422, message)
    }

    /// 422 with the field at fault; `code` is one of GitHub's (`missing_field`, `invalid`, …).
    pub(crate) fn field(resource: &str, field: &str, code: &str) -> Self {
        Self::new(422, "Validation Failed").with(json!({
            "resource": resource, "field": field, "code": code,
        }))
    }

    /// 422 with a sentence of its own about the field.
    pub(crate) fn custom(resource: &str, field: &str, message: &str) -> Self {
        Self::new(422, "Validation Failed").with(json!({
            "resource": resource, "field": field, "code": "custom", "message": message,
        }))
    }

    pub(crate) fn with(mut self, error: Value) -> Self {
        self.errors.push(error);
        self
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// The whole of it for people.
    pub(crate) fn text(&self) -> String {
        let mut text = self.message.clone();
        for error in &self.errors {
            let said = error["message"].as_str().map(String::from);
            let said = said.unwrap_or_else(|| format!("{}: {}", error["field"], error["code"]));
            text.push_str(&format!(" {said}."));
        }
        text
    }

    pub(crate) fn into_reply(self) -> Reply {
        let mut body = json!({
            "message": self.message,
            "documentation_url": "https://docs.github.com/rest",
            "status": self.status.to_string(),
        });
        if !self.errors.is_empty() {
            body["errors"] = Value::Array(self.errors);
        }
        Reply::json(self.status, body)
    }
}
