//! What strings of the settings may be. Each check says what is wrong and what would be right.

use url::Url;

use super::values::PLACEHOLDERS;
use super::yaml::quoted;
use crate::ports::SecretRef;

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
    if (1..=63).contains(&text.len()) && edges(text) {
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

/// A chart in a container registry, without tag or digest: the version says which.
pub fn oci_chart(text: &str) -> Result<(), String> {
    let named = text.strip_prefix("oci://").filter(|rest| rest.contains('/'));
    match named {
        Some(rest) if image_repository(rest).is_ok() => Ok(()),
        _ => Err(format!(
            "{} is not a chart in a registry: write it like oci://ghcr.io/acme/charts/shop, with the version as `chart.version`",
            quoted(text)
        )),
    }
}

/// The folder of a chart repository's `index.yaml`. Whether plain http may be used is the
/// operator's to say, not this file's.
pub fn chart_repository(text: &str) -> Result<(), String> {
    let fits = |url: Url| {
        matches!(url.scheme(), "https" | "http")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    if text.len() <= 1024 && Url::parse(text).is_ok_and(fits) {
        Ok(())
    } else {
        // What may be a password is not said again.
        let shown = if text.contains('@') { "this".to_owned() } else { quoted(text) };
        Err(format!(
            "{shown} is not the address of a chart repository: write it like https://charts.example.com, without user, '?' and '#'; for a registry use `chart.oci`"
        ))
    }
}

pub fn chart_name(text: &str) -> Result<(), String> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if (1..=250).contains(&text.len()) && text.bytes().all(allowed) && !text.starts_with(['.', '-']) {
        Ok(())
    } else {
        Err(format!("{} is not a chart's name: letters, digits, '.', '_' and '-', like shop", quoted(text)))
    }
}

/// All three numbers of a semantic version. What may mean another chart tomorrow is refused.
pub fn chart_version(text: &str) -> Result<(), String> {
    let unprefixed = text.strip_prefix('v').unwrap_or(text);
    if text.len() <= 128 && semver::Version::parse(unprefixed).is_ok() {
        Ok(())
    } else {
        Err(format!(
            "{} is not an exact version: write all three numbers, like 1.2.3; ranges are not supported, so that a preview does not change by itself",
            quoted(text)
        ))
    }
}

/// `namespace/name` of a secret.
pub fn secret(text: &str) -> Result<SecretRef, String> {
    let wrong = || {
        format!("{} is not a secret: write its namespace and name, like previews/registry-credentials", quoted(text))
    };
    let (namespace, name) = text.split_once('/').ok_or_else(wrong)?;
    let name_fits = name.len() <= 253 && name.split('.').all(|part| !part.is_empty() && edges(part));
    if dns_label(namespace).is_err() || !name_fits {
        return Err(wrong());
    }
    if name.starts_with("sh.helm.release.") {
        return Err(format!("{} is Helm's own record of a release, which cannot be copied", quoted(text)));
    }
    Ok(SecretRef { namespace: namespace.to_owned(), name: name.to_owned() })
}

/// Lower-case letters, digits and inner '-'.
fn edges(part: &str) -> bool {
    part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !part.starts_with('-')
        && !part.ends_with('-')
}

/// The name of a check run, or the context of a commit status: one line that is compared whole.
pub fn check_name(text: &str) -> Result<(), String> {
    if text.trim() == text && (1..=255).contains(&text.chars().count()) && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(format!("{} is not a check's name: write it as the pull request's page shows it, like build", quoted(text)))
    }
}
