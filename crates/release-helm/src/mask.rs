//! Takes out of helm's words what must not be shown.

use secrecy::{ExposeSecret, SecretString};

/// The secrets that helm was given, and where it worked.
pub(crate) struct Mask {
    secrets: Vec<String>,
    /// Folders of ours, replaced by what stands for them.
    places: Vec<(String, String)>,
}

impl Mask {
    /// Every token, password and key of the kubeconfig counts as a secret.
    pub(crate) fn new(access: &SecretString) -> Self {
        let mut secrets = Vec::new();
        if let Ok(document) = serde_yaml_ng::from_str(access.expose_secret()) {
            collect(&document, &mut secrets);
        }
        Self { secrets, places: Vec::new() }
    }

    /// From now on `place` is shown as `name`.
    pub(crate) fn place(&mut self, place: &std::path::Path, name: &str) {
        self.places.push((place.display().to_string(), name.to_owned()));
        // The longest first, so that a folder does not hide what is in it.
        self.places.sort_by_key(|(place, _)| std::cmp::Reverse(place.len()));
    }

    pub(crate) fn apply(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            text = text.replace(secret.as_str(), "***");
        }
        for (place, name) in &self.places {
            text = text.replace(place.as_str(), name);
        }
        text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
    }
}

fn collect(value: &serde_yaml_ng::Value, secrets: &mut Vec<String>) {
    match value {
        serde_yaml_ng::Value::Mapping(map) => {
            for (key, value) in map {
                let secret = matches!(key.as_str(), Some("token" | "password" | "client-key-data"));
                match value.as_str() {
                    Some(text) if secret && text.len() >= 4 => secrets.push(text.to_owned()),
                    _ => collect(value, secrets),
                }
            }
        }
        serde_yaml_ng::Value::Sequence(items) => items.iter().for_each(|item| collect(item, secrets)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_folders_of_ours_are_not_shown() {
        let kubeconfig = "users:\n- name: u\n  user: {token: hushhush, client-key-data: a2V5LWtleQ==}\n";
        let mut mask = Mask::new(&SecretString::from(kubeconfig));
        mask.place("/tmp/x".as_ref(), "");
        mask.place("/tmp/x/values-0.yaml".as_ref(), "deploy/values.yaml");
        let shown = mask.apply("Bearer hushhush a2V5LWtleQ== failed to parse /tmp/x/values-0.yaml\u{1b}[31m\n");
        assert_eq!(shown, "Bearer *** *** failed to parse deploy/values.yaml[31m\n");
    }
}
