//! What strings of the settings may be. Each check says what is wrong and what would be right.

use super::values::PLACEHOLDERS;
use super::yaml::quoted;

/// A path inside the repository: what leaves it, or could be read in two ways, is refused.
pub fn repository_path(path: &str) -> Result<(), String> {
    let problem = if path.is_empty() {
        "is empty"
    } else if path.len() > 1024 {
        "is longer than 1024 bytes"
    } else if path.starts_with('/') {
        "is absolute"
    } else if path.contains('\\') {
        "has a backslash"
    } else if path.chars().any(char::is_control) {
        "has a control character"
    } else if path.split('/').any(|part| part == "..") {
        "has a `..`"
    } else {
        return Ok(());
    };
    Err(format!("{} {problem}: give a path from the root of the repository, like deploy/chart", quoted(path)))
}

pub fn dns_label(text: &str) -> Result<(), String> {
    let ok = (1..=63).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
        && !text.ends_with('-');
    if ok {
        Ok(())
    } else {
        Err(format!(
            "{} is not a Kubernetes name: at most 63 lower-case letters, digits and '-', with a letter or digit at both ends",
            quoted(text)
        ))
    }
}

/// The path becomes part of an address of the API server, so it must not lead out of its place.
pub fn http_path(path: &str) -> Result<(), String> {
    let allowed =
        |c: char| c.is_ascii_graphic() && !matches!(c, '\\' | '#' | '<' | '>' | '"' | '{' | '}' | '|' | '^' | '`');
    let before_query = path.split('?').next().unwrap_or_default();
    let decoded = before_query.to_ascii_lowercase().replace("%2e", ".").replace("%2f", "/").replace("%5c", "/");
    let climbs = decoded.split('/').any(|part| part == "." || part == "..");
    if path.starts_with('/') && path.len() <= 1024 && path.chars().all(allowed) && !climbs {
        Ok(())
    } else {
        Err(format!(
            "{} is not a path to ask for: it begins with '/', has no '..', blanks or '#', like /healthz",
            quoted(path)
        ))
    }
}

/// A registry and a name, without tag or digest: both are the tag's business.
pub fn image_repository(text: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
    let mut parts = text.split('/');
    let first = parts.next().unwrap_or_default();
    // Only a registry may have a port, and only when a name follows it.
    let host = match first.split_once(':') {
        Some((host, port)) if text.contains('/') && !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            host
        }
        _ => first,
    };
    let part = |part: &str| !part.is_empty() && part.bytes().all(allowed) && !part.starts_with(['.', '-', '_']);
    if text.len() <= 255 && part(host) && parts.all(part) {
        Ok(())
    } else {
        Err(format!("{} is not an image's name without its tag: write it like ghcr.io/acme/shop", quoted(text)))
    }
}

/// A tag, with placeholders.
pub fn image_tag(text: &str) -> Result<(), String> {
    let mut fixed = text.to_owned();
    for name in PLACEHOLDERS {
        fixed = fixed.replace(&format!("{{{name}}}"), "x");
    }
    if fixed.contains(['{', '}']) {
        let known: Vec<String> = PLACEHOLDERS.iter().map(|name| format!("{{{name}}}")).collect();
        return Err(format!("{} has an unknown placeholder: there are {}", quoted(text), known.join(", ")));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !fixed.is_empty() && fixed.len() <= 128 && fixed.chars().all(allowed) && !fixed.starts_with(['.', '-']) {
        Ok(())
    } else {
        Err(format!(
            "{} is not an image tag: at most 128 letters, digits, '_', '.' and '-', like \"{{sha}}\"",
            quoted(text)
        ))
    }
}
