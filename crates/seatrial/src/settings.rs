//! Settings: `seatrial.toml`, overridden by `SEATRIAL_*` environment variables.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use url::Url;

/// What the program is told. Names are those of the environment variables without `SEATRIAL_`,
/// in lower case.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `sqlite://FILE`.
    #[serde(default = "defaults::database_url")]
    pub database_url: String,
    /// Webhooks, API, MCP and pages.
    #[serde(default = "defaults::listen")]
    pub listen: SocketAddr,
    /// Where `listen` is reached from outside; links in comments begin with it.
    pub public_url: Option<Url>,
    /// The gateway to previews.
    #[serde(default = "defaults::gateway_listen")]
    pub gateway_listen: SocketAddr,
    /// The URL of a preview, with `{number}`, `{repo}`, `{owner}` or `{slug}`.
    #[serde(default = "defaults::preview_url")]
    pub preview_url: String,
    #[serde(default = "defaults::github_api_url")]
    pub github_api_url: Url,
    pub github_webhook_secret: Option<SecretString>,
    pub github_token: Option<SecretString>,
    pub github_app_id: Option<String>,
    pub github_app_private_key: Option<SecretString>,
    pub github_app_private_key_file: Option<PathBuf>,
    /// An operator's token for first set-up and automation.
    pub bootstrap_token: Option<SecretString>,
    /// The helm program: a path, or a name in PATH.
    #[serde(default = "defaults::helm")]
    pub helm: PathBuf,
    /// Unpacked charts and short-lived files.
    #[serde(default = "defaults::work_dir")]
    pub work_dir: PathBuf,
    /// The context of KUBECONFIG; the current one when it is not set.
    pub kube_context: Option<String>,
    /// Previews accept traffic from this namespace.
    #[serde(default = "defaults::ingress_namespace")]
    pub ingress_namespace: String,
    /// From where the API server reaches pods, as CIDRs with commas between: needed only where the
    /// network plugin does not let the control plane's health checks pass by itself.
    #[serde(default)]
    pub api_server_cidrs: String,
    /// Hosts, with commas between, that requests may be for besides loopback and `public_url`'s.
    #[serde(default)]
    pub allowed_hosts: String,
    /// A page that tells people how to set a repository up; linked where one is not.
    pub docs_url: Option<Url>,
    /// The worker's name: the same over restarts, different for each process of one database.
    #[serde(default = "defaults::worker_name")]
    pub worker_name: String,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter of `tracing`.
    #[serde(default = "defaults::log")]
    pub log: String,
    #[serde(default)]
    pub log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

mod defaults {
    use super::{PathBuf, SocketAddr, Url};

    pub fn database_url() -> String {
        "sqlite://seatrial.db".to_owned()
    }
    pub fn listen() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 8080))
    }
    pub fn gateway_listen() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 8081))
    }
    pub fn preview_url() -> String {
        "http://pr-{number}-{repo}.localhost:8081".to_owned()
    }
    pub fn github_api_url() -> Url {
        Url::parse("https://api.github.com").expect("a constant that is a URL")
    }
    pub fn helm() -> PathBuf {
        PathBuf::from("helm")
    }
    pub fn work_dir() -> PathBuf {
        std::env::temp_dir().join("seatrial")
    }
    pub fn ingress_namespace() -> String {
        "ingress-nginx".to_owned()
    }
    pub fn worker_name() -> String {
        "seatrial".to_owned()
    }
    pub fn log() -> String {
        "info".to_owned()
    }
}

const PREFIX: &str = "SEATRIAL_";
/// Variables with the prefix that are not settings of the program: the arguments' own, and those
/// of the repository's tests.
const OTHERS: [&str; 2] = ["SEATRIAL_CONFIG", "SEATRIAL_TEST_"];

impl Settings {
    /// # Errors
    /// Names the setting that is unknown or cannot be read, and where it was set.
    pub fn load(file: &Path) -> anyhow::Result<Self> {
        let environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::from(file, environment)
    }

    fn from(file: &Path, environment: impl Iterator<Item = (String, String)>) -> anyhow::Result<Self> {
        // Always text: figment's own reading would make numbers of tokens that look like some.
        let variables: serde_json::Map<_, _> = environment
            .filter(|(name, value)| {
                name.starts_with(PREFIX) && !value.is_empty() && !OTHERS.iter().any(|other| name.starts_with(other))
            })
            .map(|(name, value)| (name[PREFIX.len()..].to_lowercase(), serde_json::Value::String(value)))
            .collect();
        let mut settings = Figment::new();
        if file.exists() {
            settings = settings.merge(Toml::file_exact(file));
        }
        settings
            .merge(Serialized::defaults(variables))
            .extract()
            .with_context(|| format!("the settings in {} and the {PREFIX}* variables cannot be used", file.display()))
    }

    /// The App's private key, from the setting or its file.
    pub fn app_private_key(&self) -> anyhow::Result<Option<SecretString>> {
        match (&self.github_app_private_key, &self.github_app_private_key_file) {
            (Some(_), Some(_)) => {
                bail!("both SEATRIAL_GITHUB_APP_PRIVATE_KEY and …_FILE are set: keep one of them")
            }
            // A key in one line, as environment files hold it, has its line ends written as \n.
            (Some(key), None) => Ok(Some(SecretString::from(key.expose_secret().replace("\\n", "\n")))),
            (None, Some(file)) => {
                let key = std::fs::read_to_string(file)
                    .with_context(|| format!("the App's private key cannot be read from {}", file.display()))?;
                Ok(Some(SecretString::from(key)))
            }
            (None, None) => Ok(None),
        }
    }

    pub fn webhook_secret(&self) -> anyhow::Result<&SecretString> {
        self.github_webhook_secret.as_ref().context(
            "SEATRIAL_GITHUB_WEBHOOK_SECRET is not set: without it no delivery can be trusted. Set it to the secret that the webhook was given on GitHub",
        )
    }
}

/// The entries of a setting with commas.
pub fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(variables: &[(&str, &str)]) -> anyhow::Result<Settings> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::from(Path::new("there-is-no-such-file.toml"), variables)
    }

    #[test]
    fn all_have_defaults_but_the_secrets() {
        let settings = load(&[]).unwrap();
        assert_eq!(settings.database_url, "sqlite://seatrial.db");
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.gateway_listen.to_string(), "127.0.0.1:8081");
        assert_eq!(settings.preview_url, "http://pr-{number}-{repo}.localhost:8081");
        assert!(settings.webhook_secret().is_err());
    }

    #[test]
    fn a_token_of_digits_stays_text_and_is_not_shown() {
        let settings = load(&[("SEATRIAL_GITHUB_TOKEN", "0123456789")]).unwrap();
        assert_eq!(settings.github_token.as_ref().unwrap().expose_secret(), "0123456789");
        assert!(!format!("{settings:?}").contains("0123456789"));
    }

    #[test]
    fn an_unknown_or_wrong_setting_is_named() {
        let unknown = format!("{:#}", load(&[("SEATRIAL_LISTN", "127.0.0.1:1")]).unwrap_err());
        assert!(unknown.contains("listn"), "{unknown}");
        let wrong = format!("{:#}", load(&[("SEATRIAL_LISTEN", "here")]).unwrap_err());
        assert!(wrong.contains("listen"), "{wrong}");
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        assert!(load(&[("SEATRIAL_BOOTSTRAP_TOKEN", "")]).unwrap().bootstrap_token.is_none());
    }
}
