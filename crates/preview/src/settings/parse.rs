//! From the text to [`Settings`], with every error at once.

use std::time::Duration;

use serde_json::{Map, Value};

use super::values::PLACEHOLDERS;
use super::yaml::{self, Entry, Errors, Kind, Node, join};
use super::{Chart, Filters, Health, Image, RolloutSettings, Settings, SettingsError};
use super::{check, quantity};
use crate::policies::{Egress, Network, PodSecurity, Quota};

/// Keys that belong to the file's format but that this version does not act on: (path, key).
/// Accepting them silently would promise what is not done.
const NOT_YET: [(&str, &str); 10] = [
    ("chart", "oci"),
    ("chart", "repository"),
    ("chart", "name"),
    ("chart", "version"),
    ("image", "wait"),
    ("filters", "paths"),
    ("", "waitFor"),
    ("", "secrets"),
    ("", "ttl"),
    ("", "sleep"),
];

/// The keys of each mapping, in the order of the reference.
pub(super) const KEYS: [(&str, &[&str]); 8] = [
    (
        "",
        &[
            "version",
            "chart",
            "values",
            "valuesFiles",
            "image",
            "health",
            "rollout",
            "filters",
            "quota",
            "network",
            "podSecurity",
        ],
    ),
    ("chart", &["path"]),
    ("image", &["repository", "tag"]),
    ("health", &["service", "port", "path", "status", "successes", "timeout"]),
    ("rollout", &["timeout"]),
    ("filters", &["labels", "ignoreLabels", "baseBranches", "drafts", "bots"]),
    ("quota", &["cpu", "memory", "pods"]),
    ("network", &["egress", "allowNamespaces"]),
];

/// Reads a `.seatrial.yaml`. Never panics, whatever the text.
///
/// # Errors
/// All that is wrong with it, in the order of the lines (at most 50, and how many more). After a
/// syntax error nothing that follows can be judged, so that is the last one.
pub fn parse(text: &str) -> Result<Settings, Vec<SettingsError>> {
    let mut reader = Reader { errors: Errors::default() };
    let settings = if text.len() > yaml::MAX_BYTES {
        let message = format!("the file has {} bytes; at most {} are read", text.len(), yaml::MAX_BYTES);
        reader.errors.add(None, "", message);
        None
    } else {
        match yaml::read(text, &mut reader.errors) {
            Some(root) => reader.settings(&root),
            None => {
                if reader.errors.is_empty() {
                    reader.errors.add(None, "", "the file is empty; the least it needs is `version: 1`");
                }
                None
            }
        }
    };
    match settings {
        Some(settings) if reader.errors.is_empty() => Ok(settings),
        _ => Err(reader.errors.into_list()),
    }
}

struct Reader {
    errors: Errors,
}

/// A mapping whose keys are known, and where it is.
struct Section<'a> {
    path: &'static str,
    entries: &'a [Entry],
}

impl<'a> Section<'a> {
    fn get(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }
    fn field(&self, key: &str) -> String {
        join(self.path, key)
    }
}

impl Reader {
    fn settings(&mut self, root: &Node) -> Option<Settings> {
        let Kind::Mapping(entries) = &root.kind else {
            self.expected(root, "", "a mapping with the key `version`");
            return None;
        };
        let top = Section { path: "", entries };
        self.check_keys(&top);
        self.version(&top);
        let pod_security = [("restricted", PodSecurity::Restricted), ("baseline", PodSecurity::Baseline)];
        Some(Settings {
            version: 1,
            chart: self.section(&top, "chart").and_then(|section| self.chart(&section)),
            values: self.values(&top),
            values_files: self.list(&top, "valuesFiles", Self::repository_file),
            image: self.section(&top, "image").and_then(|section| self.image(&section)),
            health: self.section(&top, "health").map(|section| self.health(&section)).unwrap_or_default(),
            rollout: self.section(&top, "rollout").map(|section| self.rollout(&section)).unwrap_or_default(),
            filters: self.section(&top, "filters").map(|section| self.filters(&section)).unwrap_or_default(),
            quota: self.section(&top, "quota").map(|section| self.quota(&section)).unwrap_or_default(),
            network: self.section(&top, "network").map(|section| self.network(&section)).unwrap_or_default(),
            pod_security: self.choice(&top, "podSecurity", &pod_security).unwrap_or_default(),
            wait_for: None,
            secrets: Vec::new(),
            ttl: super::default_ttl(),
            sleep: None,
        })
    }

    fn version(&mut self, top: &Section<'_>) {
        match top.get("version") {
            None => self.errors.add(None, "version", "this key is missing; add the line `version: 1`"),
            Some(Node { kind: Kind::Scalar { text, plain: true }, .. }) if text == "1" => {}
            Some(node) => self.expected(node, "version", "1, the only version there is"),
        }
    }

    fn chart(&mut self, section: &Section<'_>) -> Option<Chart> {
        let Some(node) = section.get("path") else {
            // Whoever named a chart in a way that is to come has been told so.
            if !section.entries.iter().any(|entry| NOT_YET.contains(&("chart", entry.key.as_str()))) {
                let message = "this key is missing: the chart's folder in the repository. Without `chart` altogether, the chart that Seatrial ships is used";
                self.errors.add(None, "chart.path", message);
            }
            return None;
        };
        Some(Chart { path: self.repository_path(node, "chart.path")? })
    }

    fn image(&mut self, section: &Section<'_>) -> Option<Image> {
        let repository = match section.get("repository") {
            Some(node) => self.checked(node, "image.repository", check::image_repository),
            None => {
                self.errors.add(None, "image.repository", "this key is missing; give a name like `ghcr.io/acme/shop`");
                None
            }
        };
        let tag = match section.get("tag") {
            Some(node) => self.checked(node, "image.tag", check::image_tag),
            None => Some(super::default_tag()),
        };
        Some(Image { repository: repository?, tag: tag?, wait: None })
    }

    fn health(&mut self, section: &Section<'_>) -> Health {
        let default = Health::default();
        let service = section.get("service").and_then(|node| self.checked(node, "health.service", check::dns_label));
        let path = section.get("path").and_then(|node| self.checked(node, "health.path", check::http_path));
        Health {
            service,
            port: self.integer(section, "port", 1, 65_535),
            path: path.unwrap_or(default.path),
            status: self.integer(section, "status", 100, 599).unwrap_or(default.status),
            successes: self.integer(section, "successes", 1, 20).unwrap_or(default.successes),
            timeout: self.duration(section, "timeout", 1, 30 * 60).unwrap_or(default.timeout),
        }
    }

    fn rollout(&mut self, section: &Section<'_>) -> RolloutSettings {
        let timeout = self.duration(section, "timeout", 1, 60 * 60);
        RolloutSettings { timeout: timeout.unwrap_or(RolloutSettings::default().timeout) }
    }

    fn filters(&mut self, section: &Section<'_>) -> Filters {
        let default = Filters::default();
        Filters {
            labels: self.list(section, "labels", Self::non_empty),
            ignore_labels: self.list(section, "ignoreLabels", Self::non_empty),
            base_branches: self.list(section, "baseBranches", Self::non_empty),
            paths: Vec::new(),
            drafts: self.choice(section, "drafts", &BOOLEANS).unwrap_or(default.drafts),
            bots: self.choice(section, "bots", &BOOLEANS).unwrap_or(default.bots),
        }
    }

    fn quota(&mut self, section: &Section<'_>) -> Quota {
        let default = Quota::default();
        Quota {
            cpu: self.quantity(section, "cpu", "\"2\" or 500m").unwrap_or(default.cpu),
            memory: self.quantity(section, "memory", "2Gi or 512Mi").unwrap_or(default.memory),
            pods: self.integer(section, "pods", 1, 500).unwrap_or(default.pods),
        }
    }

    fn network(&mut self, section: &Section<'_>) -> Network {
        let egress = [("internet", Egress::Internet), ("none", Egress::None)];
        Network {
            egress: self.choice(section, "egress", &egress).unwrap_or_default(),
            allow_namespaces: self
                .list(section, "allowNamespaces", |reader, node, field| reader.checked(node, field, check::dns_label)),
        }
    }

    fn values(&mut self, top: &Section<'_>) -> Map<String, Value> {
        let Some(node) = top.get("values") else { return Map::new() };
        let Kind::Mapping(entries) = &node.kind else {
            self.expected(node, "values", "a mapping");
            return Map::new();
        };
        if let Some(taken) = entries.iter().find(|entry| entry.key == "seatrial") {
            self.errors.add(Some(taken.line), "values.seatrial", "Seatrial sets this value itself; use another name");
        }
        self.json_object(entries, "values")
    }

    fn json_object(&mut self, entries: &[Entry], field: &str) -> Map<String, Value> {
        entries.iter().map(|entry| (entry.key.clone(), self.json(&entry.value, &join(field, &entry.key)))).collect()
    }

    fn json(&mut self, node: &Node, field: &str) -> Value {
        match &node.kind {
            Kind::Refused => Value::Null,
            Kind::Scalar { text, plain: false } => Value::String(text.clone()),
            Kind::Scalar { text, plain: true } => yaml::resolve(text).unwrap_or_else(|problem| {
                self.errors.add(Some(node.line), field, problem);
                Value::Null
            }),
            Kind::Sequence(items) => {
                let item = |(index, item)| self.json(item, &format!("{field}[{index}]"));
                Value::Array(items.iter().enumerate().map(item).collect())
            }
            Kind::Mapping(entries) => {
                if let Some(name) = bare_placeholder(node) {
                    self.errors.add(Some(node.line), field, format!("put it in quotes: \"{{{name}}}\""));
                }
                Value::Object(self.json_object(entries, field))
            }
        }
    }
}

const BOOLEANS: [(&str, bool); 2] = [("true", true), ("false", false)];

/// The kinds of value.
impl Reader {
    fn expected(&mut self, node: &Node, field: &str, what: &str) {
        let message = match (&node.kind, bare_placeholder(node)) {
            // It has its error already.
            (Kind::Refused, _) => return,
            (_, Some(name)) => format!("put it in quotes: \"{{{name}}}\""),
            _ => format!("expected {what}, found {}", node.found()),
        };
        self.errors.add(Some(node.line), field, message);
    }

    fn check_keys(&mut self, section: &Section<'_>) {
        let known = KEYS.iter().find(|(path, _)| *path == section.path).map_or(&[][..], |(_, keys)| keys);
        for entry in section.entries {
            let key = entry.key.as_str();
            if known.contains(&key) {
                continue;
            }
            let message = if NOT_YET.contains(&(section.path, key)) {
                format!("`{}` is not supported by this version yet; remove the line", section.field(key))
            } else {
                unknown_key(section.path, key, known)
            };
            self.errors.add(Some(entry.line), section.field(key), message);
        }
    }

    fn section<'a>(&mut self, parent: &Section<'a>, key: &'static str) -> Option<Section<'a>> {
        let node = parent.get(key)?;
        let Kind::Mapping(entries) = &node.kind else {
            self.expected(node, key, "a mapping");
            return None;
        };
        let section = Section { path: key, entries };
        self.check_keys(&section);
        Some(section)
    }

    /// A string. What YAML reads as something else must be quoted.
    fn text(&mut self, node: &Node, field: &str) -> Option<String> {
        match &node.kind {
            Kind::Scalar { text, plain: false } => Some(text.clone()),
            Kind::Scalar { text, plain: true } if matches!(yaml::resolve(text), Ok(Value::String(_))) => {
                Some(text.clone())
            }
            Kind::Scalar { text, plain: true } if !yaml::is_null(text) => {
                let message = format!("expected a string, found {text}; put it in quotes");
                self.errors.add(Some(node.line), field, message);
                None
            }
            _ => {
                self.expected(node, field, "a string");
                None
            }
        }
    }

    /// A string that passes `check`, which otherwise says what is wrong.
    fn checked(&mut self, node: &Node, field: &str, check: fn(&str) -> Result<(), String>) -> Option<String> {
        let text = self.text(node, field)?;
        match check(&text) {
            Ok(()) => Some(text),
            Err(problem) => {
                self.errors.add(Some(node.line), field, problem);
                None
            }
        }
    }

    fn non_empty(&mut self, node: &Node, field: &str) -> Option<String> {
        self.checked(node, field, |text| if text.is_empty() { Err("is empty".to_owned()) } else { Ok(()) })
    }

    fn repository_path(&mut self, node: &Node, field: &str) -> Option<String> {
        let path = self.checked(node, field, check::repository_path)?;
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
        Some(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
    }

    fn repository_file(&mut self, node: &Node, field: &str) -> Option<String> {
        let path = self.repository_path(node, field)?;
        if path == "." {
            self.errors.add(Some(node.line), field, "expected a file, found the repository itself");
            return None;
        }
        Some(path)
    }

    fn list(
        &mut self,
        section: &Section<'_>,
        key: &str,
        read: impl Fn(&mut Self, &Node, &str) -> Option<String>,
    ) -> Vec<String> {
        let Some(node) = section.get(key) else { return Vec::new() };
        let field = section.field(key);
        let Kind::Sequence(items) = &node.kind else {
            self.expected(node, &field, "a list of strings, like [one, two]");
            return Vec::new();
        };
        let item = |(index, item)| read(self, item, &format!("{field}[{index}]"));
        items.iter().enumerate().filter_map(item).collect()
    }

    fn choice<T: Copy>(&mut self, section: &Section<'_>, key: &str, choices: &[(&str, T)]) -> Option<T> {
        let node = section.get(key)?;
        // `"true"` is a string; the words of the other choices may be quoted.
        let quoted_too = !choices.iter().any(|(word, _)| *word == "true");
        if let Kind::Scalar { text, plain } = &node.kind
            && (*plain || quoted_too)
            && let Some((_, choice)) = choices.iter().find(|(word, _)| word == text)
        {
            return Some(*choice);
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        self.expected(node, &section.field(key), &words.join(" or "));
        None
    }

    fn integer<T: TryFrom<u64>>(&mut self, section: &Section<'_>, key: &str, min: u64, max: u64) -> Option<T> {
        let node = section.get(key)?;
        let number = match &node.kind {
            Kind::Scalar { text, plain: true } => yaml::resolve(text).ok().and_then(|value| value.as_u64()),
            _ => None,
        };
        match number.filter(|number| (min..=max).contains(number)).and_then(|number| T::try_from(number).ok()) {
            Some(number) => Some(number),
            None => {
                self.expected(node, &section.field(key), &format!("a number from {min} to {max}"));
                None
            }
        }
    }

    fn duration(&mut self, section: &Section<'_>, key: &str, min: u64, max: u64) -> Option<Duration> {
        let node = section.get(key)?;
        let read = match &node.kind {
            Kind::Scalar { text, .. } => quantity::duration(text),
            _ => None,
        };
        match read {
            Some(duration) if (min..=max).contains(&duration.as_secs()) => Some(duration),
            _ => {
                let words = |seconds| quantity::duration_words(Duration::from_secs(seconds));
                let what = format!("a duration from {} to {}, like 90s, 3m or 2h", words(min), words(max));
                self.expected(node, &section.field(key), &what);
                None
            }
        }
    }

    /// A Kubernetes quantity. Bare numbers are welcome: `cpu: 2`.
    fn quantity(&mut self, section: &Section<'_>, key: &str, example: &str) -> Option<String> {
        let node = section.get(key)?;
        match &node.kind {
            Kind::Scalar { text, .. } if quantity::is_positive_quantity(text) => Some(text.clone()),
            _ => {
                let what = format!("a Kubernetes quantity above zero, like {example}");
                self.expected(node, &section.field(key), &what);
                None
            }
        }
    }
}

/// `{sha}` without quotes is a mapping to YAML: the name of the placeholder that was meant.
fn bare_placeholder(node: &Node) -> Option<&str> {
    let Kind::Mapping(entries) = &node.kind else { return None };
    let [Entry { key, value: Node { kind: Kind::Scalar { text, plain: true }, .. }, .. }] = entries.as_slice() else {
        return None;
    };
    (yaml::is_null(text) && PLACEHOLDERS.contains(&key.as_str())).then_some(key)
}

/// What to say of a key that there is not: the nearest of its mapping, or where it belongs.
fn unknown_key(path: &str, key: &str, known: &[&str]) -> String {
    let folded = |text: &str| text.replace(['-', '_'], "").to_lowercase();
    // A longer key is near to none.
    let wanted = if key.len() <= 40 { folded(key) } else { String::new() };
    let near = known
        .iter()
        .map(|candidate| (strsim::damerau_levenshtein(&folded(candidate), &wanted), *candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min();
    if let Some((_, candidate)) = near {
        return format!("unknown key; did you mean `{candidate}`?");
    }
    let elsewhere = |keys: &[&str]| keys.contains(&key);
    match KEYS.iter().find(|(other, keys)| *other != path && elsewhere(keys)) {
        Some(("", _)) => format!("unknown key here; `{key}` belongs at the top of the file"),
        Some((other, _)) => format!("unknown key here; did you mean `{other}.{key}`?"),
        None => format!("unknown key; known are {}", known.join(", ")),
    }
}
