//! The rendered manifest, as it may be kept and shown.

use serde::Deserialize;

const LIMIT: usize = 256 * 1024;

/// The manifest without the documents that are, or that contain, a `Secret`; at most 256 KiB.
/// A document that is not understood is left out as well: it might be one.
pub(crate) fn without_secrets(manifest: &str) -> String {
    let mut kept = String::new();
    for document in documents(manifest) {
        if document.lines().all(|line| line.trim().is_empty() || line.starts_with('#')) {
            continue;
        }
        let text = match serde_yaml_ng::from_str::<serde_yaml_ng::Value>(&document) {
            Ok(value) => match secret_in(&value) {
                Some(name) => format!("# Secret {name:?} is left out\n"),
                None => document,
            },
            Err(_) => "# a document that is not valid YAML is left out\n".to_owned(),
        };
        if kept.len() + text.len() + 8 > LIMIT {
            kept.push_str("---\n# the rest is left out: the manifest is larger than 256 KiB\n");
            break;
        }
        kept.push_str("---\n");
        kept.push_str(&text);
    }
    kept
}

/// The documents of a YAML stream, cut where helm cuts: at lines that begin with `---`.
fn documents(manifest: &str) -> Vec<String> {
    let mut documents = vec![String::new()];
    for line in manifest.lines() {
        if line.starts_with("---") {
            documents.push(String::new());
        } else if let Some(document) = documents.last_mut() {
            document.push_str(line);
            document.push('\n');
        }
    }
    documents
}

/// The name of the first secret in a document, also within a `List`.
fn secret_in(value: &serde_yaml_ng::Value) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        metadata: Name,
    }
    #[derive(Deserialize)]
    struct Name {
        name: String,
    }
    if value.get("kind").and_then(serde_yaml_ng::Value::as_str) == Some("Secret") {
        let named: Result<Named, _> = serde_yaml_ng::from_value(value.clone());
        return Some(named.map(|named| named.metadata.name).unwrap_or_default());
    }
    value.get("items")?.as_sequence()?.iter().find_map(secret_in)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_left_out_however_they_are_written() {
        let manifest = "---\n# Source: a\nkind: ConfigMap\nmetadata: {name: a}\n--- # b\n\"kind\": \"Secret\"\nmetadata: {name: b}\nstringData: {x: hush}\n---\n{\"kind\": \"Secret\", \"data\": \"hush\"}\n---\nkind: List\nitems:\n- kind: Secret\n  metadata: {name: c}\n  data: hush\n---\nkind: [Secret\nhush\n";
        let kept = without_secrets(manifest);
        assert!(!kept.contains("hush"), "{kept}");
        assert!(kept.contains("kind: ConfigMap"), "{kept}");
        assert!(kept.contains("# Secret \"b\" is left out"), "{kept}");
    }

    #[test]
    fn the_size_is_bounded() {
        let document = format!("---\nkind: ConfigMap\ndata: {{a: {:?}}}\n", "x".repeat(100_000));
        let kept = without_secrets(&document.repeat(5));
        assert!(kept.len() <= LIMIT + 100);
        assert!(kept.ends_with("larger than 256 KiB\n"));
    }
}
