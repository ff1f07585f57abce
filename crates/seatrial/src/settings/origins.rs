//! Where settings were set, and what to say of those that cannot be used.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::anyhow;
use figment::Figment;
use figment::error::{Error, Kind};

use super::PREFIX;

/// The names under which people know the settings they made.
#[derive(Debug, Default)]
pub(super) struct Origins(BTreeMap<String, Origin>);

#[derive(Debug)]
struct Origin {
    /// `listn in seatrial.toml`, or `SEATRIAL_LISTN`.
    name: String,
    in_file: bool,
}

impl Origins {
    pub(super) fn in_file(&mut self, key: &str, file: &Path) {
        self.0.insert(key.to_owned(), Origin { name: format!("{key} in {}", file.display()), in_file: true });
    }

    /// Takes the place of the file's.
    pub(super) fn in_environment(&mut self, key: &str, variable: &str) {
        self.0.insert(key.to_owned(), Origin { name: variable.to_owned(), in_file: false });
    }

    pub(super) fn knows(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// What was set; for a setting that was not, the variable that would set it.
    pub(super) fn name(&self, key: &str) -> String {
        self.0.get(key).map_or_else(|| variable(key), |origin| origin.name.clone())
    }

    /// What is wrong with a setting, by the name it was set under. Values are shown only of
    /// settings that hold no secrets.
    pub(super) fn explain(&self, error: &Error, settings: &Figment) -> anyhow::Error {
        let Some(key) = error.path.first() else { return anyhow!("the settings cannot be used: {error}") };
        let name = self.name(key);
        if let Kind::UnknownField(_, known) = &error.kind {
            let in_file = self.0.get(key).is_some_and(|origin| origin.in_file);
            let nearest = nearest(key, known).map(|known| if in_file { known.to_owned() } else { variable(known) });
            return match nearest {
                Some(nearest) => anyhow!("{name} is not a setting; did you mean {nearest}?"),
                None => anyhow!("{name} is not a setting; the README lists them. Remove it"),
            };
        }
        let Some(wanted) = wanted(key) else { return anyhow!("{name} is not text; write it in quotes") };
        match settings.find_value(key).ok().and_then(figment::value::Value::into_string) {
            Some(value) => anyhow!("{name}: {value:?} is not {wanted}"),
            None => anyhow!("{name} is not {wanted}"),
        }
    }
}

fn variable(key: &str) -> String {
    format!("{PREFIX}{}", key.to_uppercase())
}

/// What a setting must be that is more than text.
fn wanted(key: &str) -> Option<&'static str> {
    match key {
        "listen" | "gateway_listen" => Some("an IP address with a port; write it like 127.0.0.1:8080"),
        "public_url" | "docs_url" => Some("a URL; write it like https://seatrial.example.com"),
        "github_url" => Some("a URL; write it like https://github.com"),
        "github_api_url" => Some("a URL; write it like https://api.github.com"),
        "github_app_id" => Some("a GitHub App's number; GitHub shows it as \"App ID\" on the App's page"),
        "log_format" => Some("text or json"),
        "max_previews" | "max_previews_per_repository" => Some("a whole number; write it like 20"),
        "gateway_sign_in" | "sleep_to_make_room" => Some("true or false"),
        _ => None,
    }
}

fn nearest<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let distance = |known: &&'a str| (strsim::damerau_levenshtein(known, key), *known);
    // A longer key is near to none.
    let near = known.iter().filter(|_| key.len() <= 40).map(distance).min();
    near.filter(|(distance, known)| *distance <= (known.len() / 3).max(1)).map(|(_, known)| known)
}
