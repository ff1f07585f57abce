//! The schema and the reference say what the parser does.

use std::path::Path;

use super::*;

fn repository_file(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// The schema's `oneOf` for charts and the parser say the same of each set of keys.
#[test]
fn the_schema_knows_the_three_ways_too() {
    let schema = json_schema();
    let chart = &schema["properties"]["chart"];
    let keys = [
        ("path", "deploy/chart"),
        ("oci", "oci://ghcr.io/acme/shop"),
        ("repository", "https://charts.example.com"),
        ("name", "shop"),
        ("version", "1.2.3"),
    ];
    let mut accepted = 0;
    for set in 0..1_u32 << keys.len() {
        let given: Vec<_> =
            keys.iter().enumerate().filter(|(bit, _)| set & (1 << bit) != 0).map(|(_, key)| key).collect();
        let ways = chart["oneOf"].as_array().unwrap().iter().filter(|way| {
            let required = way["required"].as_array().unwrap();
            let all = required.iter().all(|name| given.iter().any(|(key, _)| name == key));
            all && given.len() as u64 <= way["maxProperties"].as_u64().unwrap()
        });
        let text: Vec<String> = given.iter().map(|(key, value)| format!("{key}: {value:?}")).collect();
        let text = format!("version: 1\nchart: {{{}}}", text.join(", "));
        assert_eq!(parse(&text).is_ok(), ways.count() == 1, "{text}");
        accepted += u32::from(parse(&text).is_ok());
    }
    assert_eq!(accepted, 3);
}

#[test]
fn the_schema_is_the_committed_one() {
    let path = repository_file("api/seatrial-yaml.schema.json");
    let schema = serde_json::to_string_pretty(&json_schema()).unwrap() + "\n";
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, &schema).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == schema, "{} is stale; run the tests once with UPDATE_GENERATED=1", path.display());
}

#[test]
fn the_schema_has_the_keys_that_are_read() {
    let schema = json_schema();
    let names = |mapping: &Value| mapping["properties"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for (path, keys) in parse::KEYS {
        let mut mapping = match path.strip_suffix("[]") {
            _ if path.is_empty() => schema.clone(),
            Some(list) => schema["properties"][list]["items"].clone(),
            None => schema["properties"][path].clone(),
        };
        if let Some(reference) = mapping["$ref"].as_str() {
            mapping = schema.pointer(reference.trim_start_matches('#')).unwrap().clone();
        }
        let mut read: Vec<String> = keys.iter().map(ToString::to_string).collect();
        let mut described = names(&mapping);
        read.sort();
        described.sort();
        assert_eq!(described, read, "in {path:?}");
        assert_eq!(mapping["additionalProperties"], json!(false), "in {path:?}");
    }
}

#[test]
fn the_reference_is_true() {
    let reference = std::fs::read_to_string(repository_file("docs/seatrial-yaml.md")).unwrap();
    let examples: Vec<&str> =
        reference.split("```yaml\n").skip(1).filter_map(|part| part.split("```").next()).collect();
    assert!(examples.len() >= 12);
    for example in &examples {
        ok(example);
    }
    for (path, keys) in parse::KEYS {
        // A mapping or a list of mappings has rows for what is in it.
        let has_keys = |key: &str| parse::KEYS.iter().any(|(other, _)| other.trim_end_matches("[]") == key);
        for key in keys.iter().filter(|key| !path.is_empty() || !has_keys(key)) {
            let row = format!("| [`{}`]", yaml::join(path, key));
            assert!(reference.contains(&row), "no row {row}");
        }
    }
    for word in values::PLACEHOLDERS {
        assert!(reference.contains(&format!("| `{{{word}}}` |")), "{word}");
    }
}
