//! YAML as a tree that knows its lines.
//!
//! serde stops at the first error and loses the place of most, so the text is read with an event
//! parser and the tree is checked by [`super::parse`]. The parser is granit-parser: pure Rust
//! without `unsafe`, fuzzed, with limits on nesting and a position for every event, and already
//! here as the YAML parser underneath kube's own.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Number, Value};

use super::SettingsError;

/// Larger files are refused before they are read.
pub const MAX_BYTES: usize = 64 * 1024;
/// Deeper trees are refused. Block and flow collections count apart, so a tree has at most twice
/// this depth: well below serde_json's own limit, as values end up in JSON.
const MAX_DEPTH: usize = 32;

/// What is wrong with a file; the first so many of it.
#[derive(Debug, Default)]
pub struct Errors {
    list: Vec<SettingsError>,
    more: usize,
}

impl Errors {
    /// More than this help nobody.
    const LISTED: usize = 50;

    pub fn add(&mut self, line: Option<usize>, field: impl Into<String>, message: impl Into<String>) {
        if self.list.len() < Self::LISTED {
            self.list.push(SettingsError { line, field: field.into(), message: message.into() });
        } else {
            self.more += 1;
        }
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// In the order of the lines, with how many were left out.
    pub fn into_list(self) -> Vec<SettingsError> {
        let mut list = self.list;
        list.sort_by_key(|error| error.line.unwrap_or(0));
        if self.more > 0 {
            let message = format!("{} more errors are not listed", self.more);
            list.push(SettingsError { line: None, field: String::new(), message });
        }
        list
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Counted from 1.
    pub line: usize,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Kind {
    Scalar {
        text: String,
        /// Not quoted and not a block: may be something else than a string.
        plain: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
    /// A node that was already complained about.
    Refused,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    pub line: usize,
    pub key: String,
    pub value: Node,
}

impl Node {
    /// What it is, for "expected a mapping, found …".
    pub fn found(&self) -> String {
        match &self.kind {
            Kind::Scalar { text, plain: true } if is_null(text) => "nothing".to_owned(),
            Kind::Scalar { text, plain: false } => format!("the string {}", quoted(text)),
            Kind::Scalar { text, .. } => quoted(text).trim_matches('"').to_owned(),
            Kind::Sequence(_) => "a list".to_owned(),
            Kind::Mapping(_) => "a mapping".to_owned(),
            Kind::Refused => "something that is not supported".to_owned(),
        }
    }
}

/// The null of YAML's core schema.
pub fn is_null(plain: &str) -> bool {
    matches!(plain, "" | "~" | "null" | "Null" | "NULL")
}

/// A user's text within a sentence: on one line, bounded, control characters escaped.
pub fn quoted(text: &str) -> String {
    const SHOWN: usize = 60;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// Reads the one document of `text`. What is wrong is added to `errors`; the tree is there
/// unless nothing could be read.
pub fn read(text: &str, errors: &mut Errors) -> Option<Node> {
    let options = granit_parser::options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        disallow_directives: true,
        block_nesting_limit: MAX_DEPTH,
        flow_nesting_limit: MAX_DEPTH,
    };
    let mut builder = Builder { open: Vec::new(), root: None, documents: 0, errors };
    for next in Parser::new_from_str_with_options(text, options) {
        match next {
            Ok((event, span)) => builder.on_event(event, span.start.line()),
            Err(error) => {
                let message = format!("this is not valid YAML: {}", one_line(&error.info()));
                builder.errors.add(Some(error.marker().line()), "", message);
                // What was read until here is incomplete: judging it would blame the wrong lines.
                return None;
            }
        }
        if builder.documents > 1 {
            break;
        }
    }
    builder.root
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Builds the tree with a stack of its own; the depth is bounded twice, here and in the parser.
struct Builder<'a> {
    open: Vec<Open>,
    root: Option<Node>,
    documents: usize,
    errors: &'a mut Errors,
}

enum Open {
    Sequence { line: usize, items: Vec<Node> },
    Mapping { line: usize, entries: Vec<Entry>, seen: HashMap<String, usize>, key: Option<Key> },
}

/// The key whose value comes next.
struct Key {
    line: usize,
    /// Absent when it was refused; its value is then dropped.
    text: Option<String>,
}

impl Builder<'_> {
    fn on_event(&mut self, event: Event<'_>, line: usize) {
        let anchored = event.anchor_id().is_some();
        let tagged = event.tag().is_some();
        if anchored {
            self.refuse(line, "anchors (`&name`) are not supported: write the value where it is used");
        }
        if tagged {
            self.refuse(line, "tags (`!name`) are not supported: remove it, and quote the value if it is a string");
        }
        match event {
            Event::DocumentStart(..) => {
                self.documents += 1;
                if self.documents > 1 {
                    self.refuse(line, "a second document begins here: the file has one document only");
                }
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                self.refuse(line, "aliases (`*name`) are not supported: write the value out");
                self.add(Node { line, kind: Kind::Refused });
            }
            Event::Scalar(text, style, ..) => {
                let kind = Kind::Scalar { text: text.into_owned(), plain: style == ScalarStyle::Plain };
                self.add(Node { line, kind });
            }
            Event::SequenceStart(..) => self.open.push(Open::Sequence { line, items: Vec::new() }),
            Event::MappingStart(..) => {
                self.open.push(Open::Mapping { line, entries: Vec::new(), seen: HashMap::new(), key: None });
            }
            Event::SequenceEnd | Event::MappingEnd => match self.open.pop() {
                Some(Open::Sequence { line, items }) => self.add(Node { line, kind: Kind::Sequence(items) }),
                Some(Open::Mapping { line, entries, .. }) => self.add(Node { line, kind: Kind::Mapping(entries) }),
                None => {}
            },
            _ => {}
        }
    }

    /// Puts a finished node where it belongs: into the innermost collection, or at the root.
    fn add(&mut self, node: Node) {
        let line = node.line;
        // What is wrong, and below which key of the innermost collection.
        let mut wrong: Option<(usize, Option<String>, String)> = None;
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open::Sequence { items, .. }) => items.push(node),
            Some(Open::Mapping { entries, seen, key, .. }) => match (key.take(), node.kind) {
                (Some(Key { line: at, text: Some(text) }), kind) => match seen.get(&text) {
                    Some(first) => {
                        let message = format!("this key was already given in line {first}; keep one of the two");
                        wrong = Some((at, Some(text), message));
                    }
                    None => {
                        seen.insert(text.clone(), at);
                        entries.push(Entry { line: at, key: text, value: Node { line, kind } });
                    }
                },
                (Some(Key { text: None, .. }), _) => {}
                (None, Kind::Scalar { text, .. }) => *key = Some(Key { line, text: Some(text) }),
                (None, _) => {
                    *key = Some(Key { line, text: None });
                    wrong = Some((line, None, "a key must be plain text".to_owned()));
                }
            },
        }
        if let Some((line, key, message)) = wrong {
            let here = field(&self.open[..self.open.len() - 1]);
            self.errors.add(Some(line), key.map_or(here.clone(), |key| join(&here, &key)), message);
        }
    }

    fn refuse(&mut self, line: usize, message: &str) {
        self.errors.add(Some(line), field(&self.open), message);
    }
}

/// Where the parser is: `values.env[2]`.
fn field(open: &[Open]) -> String {
    let mut path = String::new();
    for open in open {
        match open {
            Open::Sequence { items, .. } => path.push_str(&format!("[{}]", items.len())),
            Open::Mapping { key: Some(Key { text: Some(text), .. }), .. } => path = join(&path, text),
            Open::Mapping { .. } => {}
        }
    }
    path
}

/// `health` and `port` as `health.port`; long and strange keys are shown bounded and quoted.
pub fn join(path: &str, key: &str) -> String {
    let simple = key.len() <= 60 && !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || "-_/".contains(c));
    let key = if simple { key.to_owned() } else { quoted(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// What a plain scalar is by YAML 1.2's core schema.
///
/// # Errors
/// Of numbers that other readers of YAML take differently, or that JSON does not have: what to
/// write instead.
pub fn resolve(plain: &str) -> Result<Value, String> {
    if is_null(plain) {
        return Ok(Value::Null);
    }
    match plain {
        "true" | "True" | "TRUE" => return Ok(Value::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Value::Bool(false)),
        _ => {}
    }
    let unsigned = plain.strip_prefix(['-', '+']).unwrap_or(plain);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return Err(format!("{plain} is not a number that values can have; quote it if it is a string"));
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let prefixed = |prefix, radix| {
        unsigned.strip_prefix(prefix).is_some_and(|d: &str| !d.is_empty() && d.chars().all(|c| c.is_digit(radix)))
    };
    let leading_zero = unsigned.len() > 1 && unsigned.starts_with('0') && digits(unsigned);
    if leading_zero || prefixed("0x", 16) || prefixed("0o", 8) {
        return Err(format!(
            "{} is read differently by different readers of YAML; write it as a decimal number, or quote it if it is a string",
            quoted(plain)
        ));
    }
    let number = if digits(unsigned) {
        let signed = plain.strip_prefix('+').unwrap_or(plain);
        signed.parse::<u64>().map(Number::from).or_else(|_| signed.parse::<i64>().map(Number::from)).ok()
    } else if is_float(unsigned) {
        plain.parse::<f64>().ok().and_then(Number::from_f64)
    } else {
        return Ok(Value::String(plain.to_owned()));
    };
    number
        .map(Value::Number)
        .ok_or_else(|| format!("{} is too large a number; quote it if it is a string", quoted(plain)))
}

/// `1.5`, `.5`, `1.`, `1e3`; without a sign.
fn is_float(text: &str) -> bool {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, Some(exponent.strip_prefix(['-', '+']).unwrap_or(exponent))),
        None => (text, None),
    };
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| !exponent.is_empty() && digits(exponent))
}
