//! Schemas of values that refer to something outside themselves. Helm fetches what they name, from
//! any address, and says in its error what it found there: a chart could look around in the network
//! that Seatrial runs in.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde_json::Value;

const NAME: &str = "values.schema.json";
const SIZE: u64 = 1024 * 1024;
const DEPTH: usize = 20;
/// What a packaged dependency may amount to.
const ARCHIVE: u64 = 64 * 1024 * 1024;

/// Whether a schema of the chart, or of a chart in it, refers outside itself. True too when that
/// cannot be told. To be asked of the chart that helm is given, with its dependencies built.
pub(crate) fn refers_outside(chart: &Path) -> bool {
    in_folder(chart, DEPTH).unwrap_or(true)
}

fn in_folder(folder: &Path, depth: usize) -> std::io::Result<bool> {
    if depth == 0 {
        return Ok(true);
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        // Links are followed, as helm does; those that lead nowhere are nobody's schema.
        let Ok(metadata) = path.metadata() else { continue };
        let outside = if metadata.is_dir() {
            in_folder(&path, depth - 1)?
        } else if path.file_name() == Some(OsStr::new(NAME)) {
            schema(File::open(&path)?)
        } else if is_archive(&path) {
            in_archive(File::open(&path)?)?
        } else {
            false
        };
        if outside {
            return Ok(true);
        }
    }
    Ok(false)
}

fn in_archive(file: File) -> std::io::Result<bool> {
    let mut archive = tar::Archive::new(GzDecoder::new(file).take(ARCHIVE));
    for entry in archive.entries()? {
        let entry = entry?;
        let path = entry.path()?;
        // An archive within an archive is not looked into.
        let outside = is_archive(&path) || (path.file_name() == Some(OsStr::new(NAME)) && schema(entry));
        if outside {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tgz" || extension == "gz")
}

fn schema(text: impl Read) -> bool {
    let mut bytes = Vec::new();
    let read = text.take(SIZE + 1).read_to_end(&mut bytes).is_ok() && bytes.len() as u64 <= SIZE;
    match serde_json::from_slice(&bytes) {
        Ok(value) if read => outside(&value),
        _ => true,
    }
}

fn outside(value: &Value) -> bool {
    match value {
        Value::Object(entries) => entries.iter().any(|(key, value)| {
            let refers = match (key.as_str(), value) {
                ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(to)) => !to.starts_with('#'),
                // The drafts themselves are built in.
                ("$schema", Value::String(draft)) => !["http://json-schema.org/", "https://json-schema.org/"]
                    .iter()
                    .any(|known| draft.strip_prefix(known).is_some_and(|rest| rest.starts_with("draft"))),
                _ => false,
            };
            refers || outside(value)
        }),
        Value::Array(items) => items.iter().any(outside),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn chart(file: &str, content: &[u8]) -> bool {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        refers_outside(folder.path())
    }

    fn archive(file: &str, content: &str) -> Vec<u8> {
        let mut builder = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, file, content.as_bytes()).unwrap();
        builder.into_inner().unwrap().finish().unwrap()
    }

    const OUTSIDE: &str = r#"{"properties": {"a": {"allOf": [{"$ref": "http://10.0.0.1/x"}]}}}"#;

    #[test]
    fn schemas_that_keep_to_themselves() {
        for text in [
            "{}",
            r##"{"$schema": "http://json-schema.org/draft-07/schema#", "properties": {"a": {"$ref": "#/definitions/a"}}}"##,
            r##"{"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://example.com/x", "$ref": "#a"}"##,
        ] {
            assert!(!chart(NAME, text.as_bytes()), "{text}");
            assert!(!chart("charts/a-1.0.0.tgz", &archive("a/values.schema.json", text)), "{text}");
        }
        assert!(!chart("templates/other.json", OUTSIDE.as_bytes()));
    }

    #[test]
    fn schemas_that_refer_elsewhere_or_cannot_be_read() {
        for text in [
            OUTSIDE,
            r#"{"$ref": "file:///etc/passwd"}"#,
            r#"{"$id": "http://10.0.0.1/", "$ref": "other.json"}"#,
            r#"{"$schema": "http://10.0.0.1/draft"}"#,
            r#"{"$schema": "http://json-schema.org/../x"}"#,
            r#"{"$schema": "http://json-schema.org.evil.example/draft"}"#,
            r#"{"$dynamicRef": "https://example.com"}"#,
            "{",
            "",
        ] {
            assert!(chart(NAME, text.as_bytes()), "{text}");
            assert!(chart("charts/sub/charts/b/values.schema.json", text.as_bytes()), "{text}");
            assert!(chart("charts/a-1.0.0.tgz", &archive("a/charts/b/values.schema.json", text)), "{text}");
        }
        assert!(chart(NAME, format!("\"{}\"", "x".repeat(1024 * 1024)).as_bytes()));
        assert!(chart("charts/a-1.0.0.tgz", b"no archive"));
        assert!(chart("charts/a-1.0.0.tgz", &archive("a/charts/b-1.0.0.tgz", "")));
    }
}
