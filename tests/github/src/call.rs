//! One request, taken apart once for everybody who looks at it.

use std::collections::BTreeMap;

use bytes::Bytes;
use poem::http::{HeaderMap, Method};
use serde_json::{Map, Value};

use crate::auth::Caller;
use crate::reply::{Refusal, Reply};
use crate::text;

/// A request to the stand-in.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// As it came, without the query.
    pub(crate) path: String,
    /// Percent-decoded.
    pub(crate) segments: Vec<String>,
    pub(crate) raw_query: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) caller: Caller,
}

impl Call {
    pub(crate) fn new(method: Method, uri: &poem::http::Uri, headers: HeaderMap, body: Bytes) -> Self {
        let path = uri.path().to_owned();
        let segments = path.split('/').filter(|segment| !segment.is_empty()).map(text::decode).collect();
        let raw_query = uri.query().unwrap_or_default().to_owned();
        let query = url::form_urlencoded::parse(raw_query.as_bytes()).into_owned().collect();
        Self { method, path, segments, raw_query, query, headers, body, caller: Caller::Anonymous }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The JSON object in the body; no body counts as an empty object.
    pub(crate) fn object(&self) -> Result<Map<String, Value>, Refusal> {
        if self.body.is_empty() {
            return Ok(Map::new());
        }
        match serde_json::from_slice(&self.body) {
            Ok(Value::Object(map)) => Ok(map),
            Ok(_) => Err(Refusal::new(400, "Body should be a JSON object")),
            Err(_) => Err(Refusal::new(400, "Problems parsing JSON")),
        }
    }

    /// The fields of a form in the body.
    pub(crate) fn form(&self) -> BTreeMap<String, String> {
        url::form_urlencoded::parse(&self.body).into_owned().collect()
    }

    /// One page of a list, with the `Link` header that leads to the others.
    pub(crate) fn page(&self, base: &str, items: Vec<Value>) -> Reply {
        let (chosen, link) = self.cut(base, items);
        let reply = Reply::ok(Value::Array(chosen));
        match link {
            Some(link) => reply.header("Link", link),
            None => reply,
        }
    }

    /// One page of a list that comes inside an object with its total.
    pub(crate) fn page_in(&self, base: &str, name: &str, items: Vec<Value>) -> Reply {
        let total = items.len();
        let (chosen, link) = self.cut(base, items);
        let mut body = Map::new();
        body.insert("total_count".to_owned(), total.into());
        body.insert(name.to_owned(), Value::Array(chosen));
        let reply = Reply::ok(Value::Object(body));
        match link {
            Some(link) => reply.header("Link", link),
            None => reply,
        }
    }

    fn number(&self, name: &str, default: usize) -> usize {
        self.parameter(name).and_then(|text| text.parse().ok()).filter(|number| *number > 0).unwrap_or(default)
    }

    fn cut(&self, base: &str, items: Vec<Value>) -> (Vec<Value>, Option<String>) {
        let size = self.number("per_page", 30).min(100);
        let page = self.number("page", 1);
        let last = items.len().div_ceil(size).max(1);
        let chosen = items.into_iter().skip((page - 1).saturating_mul(size)).take(size).collect();
        if last == 1 && page == 1 {
            return (chosen, None);
        }
        let mut links = Vec::new();
        if page > 1 {
            links.push(("prev", page - 1));
        }
        if page < last {
            links.push(("next", page + 1));
            links.push(("last", last));
        }
        if page > 1 {
            links.push(("first", 1));
        }
        let link = links
            .into_iter()
            .map(|(rel, page)| format!("<{}>; rel=\"{rel}\"", self.at_page(base, page)))
            .collect::<Vec<_>>()
            .join(", ");
        (chosen, Some(link))
    }

    fn at_page(&self, base: &str, page: usize) -> String {
        let query = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(self.query.iter().filter(|(key, _)| key != "page"))
            .append_pair("page", &page.to_string())
            .finish();
        format!("{base}{}?{query}", self.path)
    }
}

/// A field that must be a string where it is given.
pub(crate) fn string(body: &Map<String, Value>, name: &str) -> Result<Option<String>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(Refusal::unprocessable(format!(
            "Invalid request.\n\nFor 'properties/{name}', {other} is not a string."
        ))),
    }
}

/// A field that must be true or false where it is given.
pub(crate) fn boolean(body: &Map<String, Value>, name: &str) -> Result<Option<bool>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(*value)),
        Some(other) => Err(Refusal::unprocessable(format!(
            "Invalid request.\n\nFor 'properties/{name}', {other} is not a boolean."
        ))),
    }
}

/// A field that must be a list of strings where it is given.
pub(crate) fn strings(body: &Map<String, Value>, name: &str) -> Result<Option<Vec<String>>, Refusal> {
    let refuse = |value: &Value| {
        Refusal::unprocessable(format!(
            "Invalid request.\n\nFor 'properties/{name}', {value} is not an array of strings."
        ))
    };
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map(String::from).ok_or_else(|| refuse(item)))
            .collect::<Result<Vec<_>, _>>()
            .map(Some),
        Some(other) => Err(refuse(other)),
    }
}
