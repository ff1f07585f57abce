//! From the text to [`Settings`], with every error at once.

use std::time::Duration;

use serde_json::{Map, Value};

use super::values::PLACEHOLDERS;
use super::yaml::{self, Entry, Errors, Kind, Node, join};
use super::{
    Chart, Filters, Health, Image, RolloutSettings, SecretSource, Settings, SettingsError, Sleep, WaitFor, check,
    paths, quantity,
};
use crate::policies::{Egress, Network, PodSecurity, Quota};

/// The keys of each mapping, in the order of the reference.
pub(super) const KEYS: [(&str, &[&str]); 11] = [
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
            "waitFor",
            "secrets",
            "ttl",
            "sleep",
        ],
    ),
    ("chart", &["path", "oci", "repository", "name", "version"]),
    ("image", &["repository", "tag", "wait"]),
    ("health", &["service", "port", "path", "status", "successes", "timeout"]),
    ("rollout", &["timeout"]),
    ("filters", &["labels", "ignoreLabels", "baseBranches", "paths", "drafts", "bots"]),
    ("quota", &["cpu", "memory", "pods"]),
    ("network", &["egress", "allowNamespaces"]),
    ("waitFor", &["check", "timeout"]),
    ("secrets[]", &["from"]),
    ("sleep", &["after"]),
];

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// More secrets than any preview needs.
const MOST_SECRETS: usize = 20;

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
    /// Its place in [`KEYS`].
    known: &'static str,
    /// `health`, `secrets[2]`.
    path: String,
    entries: &'a [Entry],
}

impl<'a> Section<'a> {
    fn get(&self, key: &str) -> Option<&'a Node> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }
    fn field(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

impl Reader {
    fn settings(&mut self, root: &Node) -> Option<Settings> {
        let Kind::Mapping(entries) = &root.kind else {
            self.expected(root, "", "a mapping with the key `version`");
            return None;
        };
        let top = Section { known: "", path: String::new(), entries };
        self.check_keys(&top);
        self.version(&top);
        let pod_security = [("restricted", PodSecurity::Restricted), ("baseline", PodSecurity::Baseline)];
        let ttl = self.duration(&top, "ttl", 10 * MINUTE, 90 * DAY).unwrap_or_else(super::default_ttl);
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
            wait_for: self.section(&top, "waitFor").and_then(|section| self.wait_for(&section)),
            secrets: self.secrets(&top),
            ttl,
            sleep: self.section(&top, "sleep").and_then(|section| self.sleep(&section, ttl)),
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
        const WAYS: [(&str, &[&str]); 3] =
            [("path", &["path"]), ("oci", &["oci", "version"]), ("repository", &["repository", "name", "version"])];
        let given = |key: &str| section.get(key).is_some();
        let ways: Vec<_> = WAYS.iter().filter(|(way, _)| given(way)).collect();
        let (way, keys) = match ways.as_slice() {
            [one] => **one,
            [] => {
                let message = "name the chart by `path` (a folder of the repository), by `oci` and `version`, or by `repository`, `name` and `version`. Without `chart` altogether, the chart that Seatrial ships is used";
                self.errors.add(None, "chart", message);
                return None;
            }
            [(first, _), (second, _), ..] => {
                let line = section.get(second).map(|node| node.line);
                let message = format!("the chart is already named by `chart.{first}`; keep one of the two");
                self.errors.add(line, section.field(second), message);
                return None;
            }
        };
        for entry in section.entries {
            let key = entry.key.as_str();
            if !keys.contains(&key) && KEYS.iter().any(|(path, known)| *path == "chart" && known.contains(&key)) {
                let message = format!("does not go with `chart.{way}`; remove it");
                self.errors.add(Some(entry.line), section.field(key), message);
            }
        }
        match way {
            "path" => {
                let path = self.repository_path(section.get("path")?, "chart.path")?;
                Some(Chart::Path { path })
            }
            "oci" => {
                let oci = self.required(section, "oci", "", check::oci_chart);
                Some(Chart::Oci { version: self.chart_version(section)?, oci: oci? })
            }
            _ => {
                let repository = self.required(section, "repository", "", check::chart_repository);
                let name = self.required(section, "name", "the chart's name in the repository", check::chart_name);
                Some(Chart::Repository { version: self.chart_version(section)?, repository: repository?, name: name? })
            }
        }
    }

    /// `1.2` is a number to YAML; whoever writes it is told what a version is, not to quote it.
    fn chart_version(&mut self, section: &Section<'_>) -> Option<String> {
        let Some(Node { line, kind: Kind::Scalar { text, .. } }) = section.get("version") else {
            return self.required(section, "version", "the chart's exact version, like 1.2.3", check::chart_version);
        };
        if !yaml::is_null(text)
            && let Err(problem) = check::chart_version(text)
        {
            self.errors.add(Some(*line), section.field("version"), problem);
            return None;
        }
        self.required(section, "version", "", check::chart_version)
    }

    fn image(&mut self, section: &Section<'_>) -> Option<Image> {
        let repository =
            self.required(section, "repository", "give a name like `ghcr.io/acme/shop`", check::image_repository);
        let tag = match section.get("tag") {
            Some(node) => self.checked(node, "image.tag", check::image_tag),
            None => Some(super::default_tag()),
        };
        let wait = self.duration(section, "wait", 1, DAY);
        Some(Image { repository: repository?, tag: tag?, wait })
    }

    fn wait_for(&mut self, section: &Section<'_>) -> Option<WaitFor> {
        let check = self.required(
            section,
            "check",
            "the name of a check run, or the context of a commit status",
            check::check_name,
        );
        let timeout = self.duration(section, "timeout", 1, DAY).unwrap_or_else(super::default_check_timeout);
        Some(WaitFor { check: check?, timeout })
    }

    fn secrets(&mut self, top: &Section<'_>) -> Vec<SecretSource> {
        let Some(node) = top.get("secrets") else { return Vec::new() };
        let Kind::Sequence(items) = &node.kind else {
            self.expected(node, "secrets", "a list, like [{ from: previews/registry-credentials }]");
            return Vec::new();
        };
        if items.len() > MOST_SECRETS {
            let message = format!("there are {} secrets; at most {MOST_SECRETS} are copied", items.len());
            self.errors.add(Some(node.line), "secrets", message);
            return Vec::new();
        }
        let mut secrets: Vec<SecretSource> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("secrets[{index}]");
            let Kind::Mapping(entries) = &item.kind else {
                self.expected(item, &path, "a mapping, like { from: previews/registry-credentials }");
                continue;
            };
            let section = Section { known: "secrets[]", path, entries };
            self.check_keys(&section);
            let what = "the secret's namespace and name, like previews/registry-credentials";
            let Some(text) = self.required(&section, "from", what, |text| check::secret(text).map(|_| ())) else {
                continue;
            };
            let Ok(from) = check::secret(&text) else { continue };
            if secrets.iter().any(|other| other.from.name == from.name) {
                let message =
                    format!("there is another secret named {:?}, and the preview's namespace can hold one", from.name);
                self.errors.add(Some(item.line), section.field("from"), message);
                continue;
            }
            secrets.push(SecretSource { from });
        }
        secrets
    }

    fn sleep(&mut self, section: &Section<'_>, ttl: Duration) -> Option<Sleep> {
        if section.get("after").is_none() {
            self.errors.add(None, "sleep.after", "this key is missing: how long nobody must have visited it, like 2h");
        }
        let after = self.duration(section, "after", 5 * MINUTE, 30 * DAY)?;
        if after >= ttl {
            let [after, ttl] = [after, ttl].map(quantity::duration_words);
            let message =
                format!("{after} is not shorter than `ttl`, {ttl}: the preview would be deleted before it sleeps");
            self.errors.add(section.get("after").map(|node| node.line), "sleep.after", message);
        }
        Some(Sleep { after })
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
            timeout: self.duration(section, "timeout", 1, 30 * MINUTE).unwrap_or(default.timeout),
        }
    }

    fn rollout(&mut self, section: &Section<'_>) -> RolloutSettings {
        let timeout = self.duration(section, "timeout", 1, HOUR);
        RolloutSettings { timeout: timeout.unwrap_or(RolloutSettings::default().timeout) }
    }

    fn filters(&mut self, section: &Section<'_>) -> Filters {
        let default = Filters::default();
        Filters {
            labels: self.list(section, "labels", Self::non_empty),
            ignore_labels: self.list(section, "ignoreLabels", Self::non_empty),
            base_branches: self.list(section, "baseBranches", Self::non_empty),
            paths: self.paths(section),
            drafts: self.choice(section, "drafts", &BOOLEANS).unwrap_or(default.drafts),
            bots: self.choice(section, "bots", &BOOLEANS).unwrap_or(default.bots),
        }
    }

    fn paths(&mut self, section: &Section<'_>) -> Vec<String> {
        const MOST: usize = 100;
        let paths = self.list(section, "paths", |reader, node, field| reader.checked(node, field, paths::check));
        let line = section.get("paths").map(|node| node.line);
        if paths.len() > MOST {
            self.errors.add(
                line,
                "filters.paths",
                format!("there are {} patterns; at most {MOST} are read", paths.len()),
            );
        }
        if !paths.is_empty() && paths.iter().all(|path| path.starts_with('!')) {
            let message = "all patterns begin with `!`, so that no file would fit; put \"**\" before them";
            self.errors.add(line, "filters.paths", message);
        }
        paths
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
        let known = KEYS.iter().find(|(path, _)| *path == section.known).map_or(&[][..], |(_, keys)| keys);
        for entry in section.entries {
            let key = entry.key.as_str();
            if known.contains(&key) {
                continue;
            }
            self.errors.add(Some(entry.line), section.field(key), unknown_key(section.known, key, known));
        }
    }

    fn section<'a>(&mut self, parent: &Section<'a>, key: &'static str) -> Option<Section<'a>> {
        let node = parent.get(key)?;
        let Kind::Mapping(entries) = &node.kind else {
            self.expected(node, key, "a mapping");
            return None;
        };
        let section = Section { known: key, path: key.to_owned(), entries };
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

    /// A string that must be there and pass `check`; `what` is said when it is missing.
    fn required(
        &mut self,
        section: &Section<'_>,
        key: &str,
        what: &str,
        check: fn(&str) -> Result<(), String>,
    ) -> Option<String> {
        match section.get(key) {
            Some(node) => self.checked(node, &section.field(key), check),
            None => {
                self.errors.add(None, section.field(key), format!("this key is missing: {what}"));
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
