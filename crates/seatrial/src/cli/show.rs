//! Answers for people: tables and sentences. Text from outside is printed without its control
//! characters, so that no title can move the cursor.

use std::io::Write as _;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde_json::Value;

/// One JSON document.
pub fn json(value: &Value) -> anyhow::Result<()> {
    text(&serde_json::to_string_pretty(value)?)
}

/// A reader that has gone away (`| head`) is no error.
pub fn text(text: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout(), "{}", text.trim_end()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.context("the answer cannot be written"),
    }
}

/// A table with a line for each item, or `nothing` when there are none.
pub fn table(heads: &[&str], rows: Vec<Vec<String>>, nothing: &str) -> String {
    if rows.is_empty() {
        return nothing.to_owned();
    }
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(heads.iter().map(|head| head.to_uppercase()));
    table.add_rows(rows);
    // Cells are padded by a space on both sides.
    let lines = table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

/// A field as people read it; a dash where there is none.
pub fn field(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => clean(text),
        Some(Value::Null) | None => "–".to_owned(),
        Some(other) => other.to_string(),
    }
}

/// How long ago a field's time is.
pub fn age(value: &Value, pointer: &str) -> String {
    let at = value.pointer(pointer).and_then(Value::as_str).and_then(|text| text.parse::<DateTime<Utc>>().ok());
    at.map_or_else(|| "–".to_owned(), |at| ago(Utc::now() - at))
}

fn ago(time: chrono::TimeDelta) -> String {
    match time.num_seconds() {
        seconds if seconds < 0 => "in the future".to_owned(),
        seconds @ 0..60 => format!("{seconds}s ago"),
        seconds @ 60..3_600 => format!("{}m ago", seconds / 60),
        seconds @ 3_600..172_800 => format!("{}h ago", seconds / 3_600),
        seconds => format!("{}d ago", seconds / 86_400),
    }
}

/// Lines of names and values.
pub fn facts(value: &Value, facts: &[(&str, &str)]) -> String {
    let known = facts.iter().filter(|(_, pointer)| value.pointer(pointer).is_some_and(|value| !value.is_null()));
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    known.map(|(name, pointer)| format!("{name:<width$}  {}", field(value, pointer))).collect::<Vec<_>>().join("\n")
}

/// How a run ended.
pub fn run_end(run: &Value) -> String {
    let mut text = format!("Run {} has {}.", field(run, "/run/id"), field(run, "/run/state"));
    if let Some(why) = run.pointer("/run/error").and_then(Value::as_str) {
        text.push_str(&format!("\n{}", clean(why)));
    }
    text
}

pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tables_are_aligned_and_hold_no_control_characters() {
        let item = json!({ "title": "A\u{1b}[31m change", "n": 7 });
        let rows = vec![vec![field(&item, "/title"), field(&item, "/n"), field(&item, "/x")]];
        let text = table(&["title", "n", "x"], rows, "none");
        assert_eq!(text, "TITLE          N  X\nA [31m change  7  –");
        assert_eq!(table(&["title"], Vec::new(), "There are none."), "There are none.");
    }

    #[test]
    fn ages_are_short() {
        for (seconds, text) in
            [(5, "5s ago"), (119, "1m ago"), (7_200, "2h ago"), (200_000, "2d ago"), (-1, "in the future")]
        {
            assert_eq!(ago(chrono::TimeDelta::seconds(seconds)), text);
        }
    }

    #[test]
    fn facts_that_are_not_known_are_left_out() {
        let value = json!({ "a": 1, "b": null });
        assert_eq!(facts(&value, &[("first", "/a"), ("b", "/b"), ("c", "/c")]), "first  1");
    }
}
