//! Settings: `seatrial.toml`, overridden by `SEATRIAL_*` environment variables.

mod origins;

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow, bail};
use figment::Figment;
use figment::providers::{Format, Serialized, Toml};
use figment::value::Dict;
use origins::Origins;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
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
    /// Shows previews to those only who are signed in at `public_url`.
    #[serde(default, deserialize_with = "switch")]
    pub gateway_sign_in: bool,
    /// The URL of a preview, with `{number}`, `{repo}`, `{owner}` or `{slug}`.
    #[serde(default = "defaults::preview_url")]
    pub preview_url: String,
    #[serde(default = "defaults::github_api_url")]
    pub github_api_url: Url,
    pub github_webhook_secret: Option<SecretString>,
    pub github_token: Option<SecretString>,
    #[serde(default, deserialize_with = "number")]
    pub github_app_id: Option<u64>,
    pub github_app_private_key: Option<SecretString>,
    pub github_app_private_key_file: Option<PathBuf>,
    /// Where people sign in with GitHub.
    #[serde(default = "defaults::github_url")]
    pub github_url: Url,
    /// The client that GitHub knows Seatrial's sign-in by; without it people sign in with tokens.
    pub github_client_id: Option<String>,
    pub github_client_secret: Option<SecretString>,
    /// What secrets of projects are encrypted with: 32 bytes in base64. While it is changed, the new
    /// one first and the old ones behind commas.
    pub encryption_key: Option<SecretString>,
    /// Proxies in front of `listen`, as CIDRs with commas between: their `X-Forwarded-For` says from
    /// where a request comes.
    #[serde(default)]
    pub trusted_proxies: String,
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
    /// The only hosts, with commas between, that images and charts may come from; all public ones
    /// when it is empty. `*.` stands for any name below.
    #[serde(default)]
    pub registry_hosts: String,
    /// Registries and chart repositories at loopback, link-local or private addresses; else none
    /// of those is asked.
    #[serde(default)]
    pub registry_private_hosts: String,
    /// Registries and chart repositories that are asked by http instead of https.
    #[serde(default)]
    pub registry_http_hosts: String,
    /// A Docker configuration whose `auths` registries are given; without it nobody is.
    pub registry_auth_file: Option<PathBuf>,
    /// How many previews may be up at once; more are queued. Sleeping ones do not count.
    #[serde(default, deserialize_with = "number")]
    pub max_previews: Option<u32>,
    /// The same for each repository.
    #[serde(default, deserialize_with = "number")]
    pub max_previews_per_repository: Option<u32>,
    /// When there is no room, put the preview to sleep that was idle for longest.
    #[serde(default, deserialize_with = "switch")]
    pub sleep_to_make_room: bool,
    /// A page that tells people how to set a repository up; linked where one is not.
    pub docs_url: Option<Url>,
    /// The worker's name: the same over restarts, different for each process of one database.
    pub worker_name: Option<String>,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter of `tracing`.
    #[serde(default = "defaults::log")]
    pub log: String,
    #[serde(default)]
    pub log_format: LogFormat,
    #[serde(skip)]
    origins: Origins,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    #[default]
    Text,
    Json,
}

impl Settings {
    /// The database as it may be shown: without user, password and parameters.
    pub fn database(&self) -> String {
        if self.database_url.starts_with("sqlite:") {
            return self.database_url.clone();
        }
        match Url::parse(&self.database_url) {
            Ok(url) => {
                let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
                format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
            }
            Err(_) => "the database".to_owned(),
        }
    }

    /// As it was set; else, a file has one process, and processes that share PostgreSQL are told
    /// apart by their machine (in Kubernetes, their pod).
    pub fn worker_name(&self) -> String {
        let machine = || {
            let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
            Some(name.trim().to_owned()).filter(|name| !name.is_empty())
        };
        self.worker_name
            .clone()
            .or_else(|| if self.database_url.starts_with("sqlite:") { None } else { machine() })
            .unwrap_or_else(|| "seatrial".to_owned())
    }
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
        super::DEFAULT_PREVIEW_URL.to_owned()
    }
    pub fn github_api_url() -> Url {
        Url::parse("https://api.github.com").expect("a constant that is a URL")
    }
    pub fn github_url() -> Url {
        Url::parse("https://github.com").expect("a constant that is a URL")
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
    pub fn log() -> String {
        "info".to_owned()
    }
}

/// For the gateway at its default address.
pub const DEFAULT_PREVIEW_URL: &str = "http://pr-{number}-{repo}.localhost:8081";

const PREFIX: &str = "SEATRIAL_";
/// Variables with the prefix that are not settings of the program: the arguments' own, and those
/// of the repository's tests.
const OTHERS: [&str; 4] = ["SEATRIAL_CONFIG", "SEATRIAL_SERVER", "SEATRIAL_TOKEN", "SEATRIAL_TEST_"];
/// Read where no file is named, if it is there.
const DEFAULT_FILE: &str = "seatrial.toml";

impl Settings {
    /// # Errors
    /// When a file is named and is not there. Names the setting that is unknown or cannot be
    /// read, and where it was set.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let environment =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self::from(file, environment)
    }

    fn from(file: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> anyhow::Result<Self> {
        let mut origins = Origins::default();
        let in_file = read(file)?;
        for key in in_file.keys() {
            origins.in_file(key, file.unwrap_or(Path::new(DEFAULT_FILE)));
        }
        // Always text: figment's own reading would make numbers of tokens that look like some.
        let mut variables = serde_json::Map::new();
        for (name, value) in environment {
            if let Some(key) = name.strip_prefix(PREFIX)
                && !value.is_empty()
                && !OTHERS.iter().any(|other| name.starts_with(other))
            {
                let key = key.to_lowercase();
                origins.in_environment(&key, &name);
                variables.insert(key, serde_json::Value::String(value));
            }
        }
        let settings = Figment::from(Serialized::defaults(in_file)).merge(Serialized::defaults(variables));
        match settings.extract() {
            Ok(extracted) => Ok(Self { origins, ..extracted }),
            Err(error) => Err(origins.explain(&error, &settings)),
        }
    }

    /// The name under which a setting was set: `SEATRIAL_LISTEN`, or `listen in seatrial.toml`.
    pub fn name(&self, key: &str) -> String {
        self.origins.name(key)
    }

    /// Whether a setting was set, and is not as it is by itself.
    pub fn is_set(&self, key: &str) -> bool {
        self.origins.knows(key)
    }

    /// The App's private key, from the setting or its file.
    pub fn app_private_key(&self) -> anyhow::Result<Option<SecretString>> {
        match (&self.github_app_private_key, &self.github_app_private_key_file) {
            (Some(_), Some(_)) => {
                let [key, file] = ["github_app_private_key", "github_app_private_key_file"].map(|key| self.name(key));
                bail!("both {key} and {file} are set: keep one of them")
            }
            // A key in one line, as environment files hold it, has its line ends written as \n.
            (Some(key), None) => Ok(Some(SecretString::from(key.expose_secret().replace("\\n", "\n")))),
            (None, Some(file)) => {
                let key = std::fs::read_to_string(file).with_context(|| {
                    let name = self.name("github_app_private_key_file");
                    format!("{name}: the App's private key cannot be read from {}", file.display())
                })?;
                Ok(Some(SecretString::from(key)))
            }
            (None, None) => Ok(None),
        }
    }

    /// The Docker configuration with the registries' users and passwords.
    pub fn registry_auth(&self) -> anyhow::Result<Option<SecretString>> {
        let Some(file) = &self.registry_auth_file else { return Ok(None) };
        let text = std::fs::read_to_string(file).with_context(|| {
            let name = self.name("registry_auth_file");
            format!("{name}: the registries' credentials cannot be read from {}", file.display())
        })?;
        Ok(Some(SecretString::from(text)))
    }

    pub fn webhook_secret(&self) -> anyhow::Result<&SecretString> {
        self.github_webhook_secret.as_ref().context(
            "SEATRIAL_GITHUB_WEBHOOK_SECRET is not set: without it no delivery can be trusted. Set it to the secret that the webhook was given on GitHub",
        )
    }
}

/// What the file says; nothing where none was named and the default one is not there.
fn read(named: Option<&Path>) -> anyhow::Result<Dict> {
    let file = named.unwrap_or(Path::new(DEFAULT_FILE));
    let shown = file.display();
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => return Ok(Dict::new()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            bail!(
                "the settings file {shown} does not exist; make it, or name another one with --config or SEATRIAL_CONFIG"
            )
        }
        Err(error) => return Err(error).with_context(|| format!("the settings file {shown} cannot be read")),
    };
    Toml::from_str(&text).map_err(|error| {
        // Without the line in question: it may hold a secret.
        let said = error.to_string();
        let said: Vec<_> = said.lines().filter(|line| !line.contains('|')).collect();
        anyhow!("{shown}: {}", said.join(": "))
    })
}

/// A number, also in quotes: environment variables have no other form.
fn number<'de, D: Deserializer<'de>, N: TryFrom<u64>>(source: D) -> Result<Option<N>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Number(u64),
        Text(String),
    }
    let number = match Option::deserialize(source)? {
        None => return Ok(None),
        Some(Written::Number(number)) => number,
        Some(Written::Text(text)) => text.trim().parse().map_err(serde::de::Error::custom)?,
    };
    N::try_from(number).map(Some).map_err(|_| serde::de::Error::custom(format_args!("{number} is too large")))
}

/// True or false, also in quotes.
fn switch<'de, D: Deserializer<'de>>(source: D) -> Result<bool, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Written {
        Switch(bool),
        Text(String),
    }
    match Written::deserialize(source)? {
        Written::Switch(on) => Ok(on),
        Written::Text(text) => text
            .trim()
            .parse()
            .map_err(|_| serde::de::Error::custom(format_args!("{text:?} is neither `true` nor `false`"))),
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
        load_with(None, variables)
    }

    fn load_with(file: Option<&Path>, variables: &[(&str, &str)]) -> anyhow::Result<Settings> {
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::from(file, variables)
    }

    /// Loads settings from a file with this text; the path in messages is `FILE`.
    fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Settings, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("shop.toml");
        std::fs::write(&file, text).unwrap();
        load_with(Some(&file), variables).map_err(|error| format!("{error:#}").replace(file.to_str().unwrap(), "FILE"))
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
    fn what_cannot_be_used_is_named_as_it_was_set() {
        let refused = |text: &str, variables: &[(&str, &str)]| load_text(text, variables).unwrap_err();
        let address = "an IP address with a port; write it like 127.0.0.1:8080";
        assert_eq!(refused("", &[("SEATRIAL_LISTEN", "here")]), format!("SEATRIAL_LISTEN: \"here\" is not {address}"));
        assert_eq!(refused("listen = 'here'", &[]), format!("listen in FILE: \"here\" is not {address}"));
        assert_eq!(refused("gateway_listen = 8081", &[]), format!("gateway_listen in FILE is not {address}"));
        // The environment's is the one that is used, so it is the one that is wrong.
        assert_eq!(
            refused("listen = '127.0.0.1:1'", &[("SEATRIAL_LISTEN", "there")]),
            format!("SEATRIAL_LISTEN: \"there\" is not {address}")
        );
        assert!(load_text("listen = 'here'", &[("SEATRIAL_LISTEN", "127.0.0.1:1")]).is_ok());
        assert_eq!(
            refused("public_url = 'seatrial'", &[]),
            "public_url in FILE: \"seatrial\" is not a URL; write it like https://seatrial.example.com"
        );
        assert_eq!(
            refused("", &[("SEATRIAL_MAX_PREVIEWS", "many")]),
            "SEATRIAL_MAX_PREVIEWS: \"many\" is not a whole number; write it like 20"
        );
        assert_eq!(
            refused("", &[("SEATRIAL_GATEWAY_SIGN_IN", "yes")]),
            "SEATRIAL_GATEWAY_SIGN_IN: \"yes\" is not true or false"
        );
        assert_eq!(refused("", &[("SEATRIAL_LOG_FORMAT", "xml")]), "SEATRIAL_LOG_FORMAT: \"xml\" is not text or json");
    }

    #[test]
    fn an_unknown_setting_is_named_with_the_nearest() {
        let refused = |text: &str, variables: &[(&str, &str)]| load_text(text, variables).unwrap_err();
        assert_eq!(
            refused("", &[("SEATRIAL_LISTN", "127.0.0.1:1")]),
            "SEATRIAL_LISTN is not a setting; did you mean SEATRIAL_LISTEN?"
        );
        assert_eq!(refused("listn = 'here'", &[]), "listn in FILE is not a setting; did you mean listen?");
        assert_eq!(
            refused("[helmets]\ncolour = 'red'", &[]),
            "helmets in FILE is not a setting; the README lists them. Remove it"
        );
        // Not a setting, though there is a field of this name.
        assert!(refused("origins = 1", &[]).starts_with("origins in FILE is not a setting"));
    }

    #[test]
    fn errors_show_no_secrets() {
        assert_eq!(
            load_text("github_webhook_secret = 20261124", &[]).unwrap_err(),
            "github_webhook_secret in FILE is not text; write it in quotes"
        );
        let unquoted = load_text("log = 'info'\ngithub_token = ghp_hush", &[]).unwrap_err();
        assert!(unquoted.starts_with("FILE: TOML parse error at line 2, column 16: "), "{unquoted}");
        assert!(!unquoted.contains("hush"), "{unquoted}");
    }

    #[test]
    fn a_named_file_must_exist_and_the_default_one_need_not() {
        let error = load_with(Some(Path::new("there-is-no-such-file.toml")), &[]).unwrap_err().to_string();
        assert!(error.starts_with("the settings file there-is-no-such-file.toml does not exist"), "{error}");
        // There is none in the folder that tests run in.
        assert!(load(&[]).is_ok());
        let error = load_with(Some(Path::new("src")), &[]).unwrap_err().to_string();
        assert_eq!(error, "the settings file src cannot be read");
    }

    #[test]
    fn an_apps_number_is_taken_with_and_without_quotes() {
        for text in ["github_app_id = 123", "github_app_id = '123'"] {
            assert_eq!(load_text(text, &[]).unwrap().github_app_id, Some(123), "{text}");
        }
        assert_eq!(load(&[("SEATRIAL_GITHUB_APP_ID", "123")]).unwrap().github_app_id, Some(123));
        assert_eq!(load(&[]).unwrap().github_app_id, None);
        let number = "a GitHub App's number; GitHub shows it as \"App ID\" on the App's page";
        assert_eq!(
            load_text("", &[("SEATRIAL_GITHUB_APP_ID", "Iv1.05c7")]).unwrap_err(),
            format!("SEATRIAL_GITHUB_APP_ID: \"Iv1.05c7\" is not {number}")
        );
        assert_eq!(load_text("github_app_id = -1", &[]).unwrap_err(), format!("github_app_id in FILE is not {number}"));
    }

    #[test]
    fn an_empty_variable_counts_as_not_set() {
        assert!(load(&[("SEATRIAL_BOOTSTRAP_TOKEN", "")]).unwrap().bootstrap_token.is_none());
    }

    #[test]
    fn a_database_is_shown_without_its_password() {
        let mut settings = load(&[]).unwrap();
        settings.database_url = "postgres://ada:hunter2@db.example:5433/seatrial?password=hunter2".to_owned();
        assert_eq!(settings.database(), "postgres://db.example:5433/seatrial");
        settings.database_url = "postgres://a:p@ss/w@db/x".to_owned();
        assert!(!settings.database().contains("p@ss"), "{}", settings.database());
    }
}
