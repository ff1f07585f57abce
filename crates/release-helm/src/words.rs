//! Takes helm's words apart.

const EVIDENCE_LINES: usize = 40;
const EVIDENCE_BYTES: usize = 8 * 1024;

/// What follows helm's last `Error: `, without the prefixes that say what we know.
pub(crate) fn message(shown: &str) -> &str {
    let start = match shown.rfind("\nError: ") {
        Some(at) => at + "\nError: ".len(),
        None => 0,
    };
    let mut message = shown[start..].trim();
    for prefix in ["INSTALLATION FAILED: ", "UPGRADE FAILED: "] {
        message = message.strip_prefix(prefix).unwrap_or(message);
    }
    message
}

/// `… clusterroles.rbac.authorization.k8s.io "x"`: the last two words, the second one quoted.
pub(crate) fn object_before(text: &str) -> String {
    let text = text.trim_end();
    let words: Vec<&str> = text.rsplitn(3, ' ').collect();
    match words.as_slice() {
        [name, kind, ..] if name.starts_with('"') => format!("{kind} {name}"),
        [name, ..] => (*name).to_owned(),
        [] => String::new(),
    }
}

pub(crate) fn between<'a>(text: &'a str, before: &str, behind: &str) -> Option<&'a str> {
    let rest = after(text, before)?;
    Some(&rest[..rest.find(behind)?])
}

pub(crate) fn after<'a>(text: &'a str, before: &str) -> Option<&'a str> {
    Some(&text[text.find(before)? + before.len()..])
}

pub(crate) fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("helm said nothing");
    if line.chars().count() > 400 { line.chars().take(399).chain(['…']).collect() } else { line.to_owned() }
}

pub(crate) fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let mut kept = lines[lines.len().saturating_sub(EVIDENCE_LINES)..].join("\n");
    if kept.len() > EVIDENCE_BYTES {
        let mut start = kept.len() - EVIDENCE_BYTES;
        while !kept.is_char_boundary(start) {
            start += 1;
        }
        kept.drain(..start);
    }
    kept
}
