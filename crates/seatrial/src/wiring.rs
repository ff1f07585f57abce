//! Adapters for ports.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use ipnet::IpNet;
use seatrial_api::SignIn;
use seatrial_cluster_kube::{ClusterConfig, KubeCluster};
use seatrial_engine::SystemClock;
use seatrial_forge_github::{Auth, GithubConfig, GithubForge, GithubSignIn, SignInConfig, webhook};
use seatrial_operations::{Access, AccessConfig, Keyring, Vault, WebhookDecoder};
use seatrial_preview::life::Capacity;
use seatrial_preview::naming::UrlTemplate;
use seatrial_preview::ports::Identities;
use seatrial_registry_oci::{Credentials, Reach, Registries};
use seatrial_release_helm::{HelmConfig, HelmReleases};
use seatrial_store::{Store, StoreOptions};
use secrecy::ExposeSecret;

use crate::settings::{self, Settings};

/// One TLS provider for all clients, before any of them is made.
pub fn install_crypto() -> anyhow::Result<()> {
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow!("another TLS provider was installed first; this is a mistake in the program"))
}

pub fn preview_url(settings: &Settings) -> anyhow::Result<UrlTemplate> {
    UrlTemplate::parse(&settings.preview_url)
        .with_context(|| format!("{} cannot be used", settings.name("preview_url")))
}

pub async fn open_store(settings: &Settings, preview_url: UrlTemplate) -> anyhow::Result<Store> {
    let options = StoreOptions { url: settings.database_url.clone(), preview_url, clock: Arc::new(SystemClock) };
    Store::open(options).await.context("the database cannot be opened")
}

pub async fn migrate(settings: &Settings) -> anyhow::Result<()> {
    open_store(settings, preview_url(settings)?).await?;
    println!("The tables of {} are up to date.", settings.database());
    Ok(())
}

pub fn forge(settings: &Settings) -> anyhow::Result<GithubForge> {
    let [token_name, id_name] = ["github_token", "github_app_id"].map(|key| settings.name(key));
    let auth = match (&settings.github_token, settings.github_app_id) {
        (Some(_), Some(_)) => bail!("both {token_name} and {id_name} are set: keep one of them"),
        (Some(token), None) => Auth::Token(token.clone()),
        (None, Some(id)) => Auth::App {
            id,
            private_key_pem: settings
                .app_private_key()?
                .with_context(|| format!("{id_name} is set, but neither SEATRIAL_GITHUB_APP_PRIVATE_KEY nor …_FILE"))?,
        },
        (None, None) => bail!(
            "no GitHub credentials: set SEATRIAL_GITHUB_APP_ID and SEATRIAL_GITHUB_APP_PRIVATE_KEY_FILE, or SEATRIAL_GITHUB_TOKEN"
        ),
    };
    GithubForge::new(GithubConfig { api_url: settings.github_api_url.clone(), auth })
        .context("the GitHub credentials cannot be used")
}

/// Where people sign in with GitHub, if that is set up.
pub fn identities(settings: &Settings) -> anyhow::Result<Option<Arc<dyn Identities>>> {
    let [id_name, secret_name] = ["github_client_id", "github_client_secret"].map(|key| settings.name(key));
    let (client_id, client_secret) = match (&settings.github_client_id, &settings.github_client_secret) {
        (None, None) => return Ok(None),
        (Some(id), Some(secret)) => (id.clone(), secret.clone()),
        (Some(_), None) => bail!("{id_name} is set, but {secret_name} is not: set both, or neither"),
        (None, Some(_)) => bail!("{secret_name} is set, but {id_name} is not: set both, or neither"),
    };
    if settings.public_url.is_none() {
        bail!("{id_name} is set, so GitHub sends people back to Seatrial: set SEATRIAL_PUBLIC_URL too");
    }
    let (web_url, api_url) = (settings.github_url.clone(), settings.github_api_url.clone());
    let sign_in = GithubSignIn::new(SignInConfig { web_url, api_url, client_id, client_secret })
        .context("sign-in with GitHub cannot be used")?;
    Ok(Some(Arc::new(sign_in)))
}

pub fn access(settings: &Settings) -> anyhow::Result<AccessConfig> {
    if let Some(token) = &settings.bootstrap_token {
        Access::check_bootstrap(token)
            .map_err(|reason| anyhow!("{} cannot be used: {reason}", settings.name("bootstrap_token")))?;
    }
    Ok(AccessConfig { bootstrap_token: settings.bootstrap_token.clone(), identities: identities(settings)? })
}

/// The secrets of projects; checks that all of them can be read.
pub async fn vault(settings: &Settings, store: &Store) -> anyhow::Result<Vault> {
    let name = settings.name("encryption_key");
    let keys = settings
        .encryption_key
        .as_ref()
        .map(|text| Keyring::parse(text).map_err(|reason| anyhow!("{name} cannot be used: {reason}")))
        .transpose()?;
    Vault::open(store.clone(), keys).await.map_err(|reason| anyhow!("the secrets of projects cannot be read: {reason}"))
}

pub fn capacity(settings: &Settings) -> Capacity {
    Capacity { cluster: settings.max_previews, repository: settings.max_previews_per_repository }
}

pub fn trusted_proxies(settings: &Settings) -> anyhow::Result<Vec<IpNet>> {
    let name = settings.name("trusted_proxies");
    let parse = |text: String| {
        // A single address is a network of one.
        let net = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        net.map_err(|_| anyhow!("{name}: {text:?} is neither an address nor a network like 10.0.0.0/8"))
    };
    settings::list(&settings.trusted_proxies).into_iter().map(parse).collect()
}

pub fn webhook_decoder(settings: &Settings) -> anyhow::Result<WebhookDecoder> {
    let secret = settings.webhook_secret()?.clone();
    Ok(WebhookDecoder {
        verify: Box::new(move |raw, signature| {
            webhook::verify(&secret, raw, signature).map_err(|error| error.to_string())
        }),
        parse: Box::new(webhook::parse),
    })
}

pub fn releases(settings: &Settings) -> anyhow::Result<HelmReleases> {
    let registries = Arc::new(images(settings)?);
    let (program, work_dir) = (settings.helm.clone(), settings.work_dir.clone());
    HelmReleases::new(HelmConfig { program, work_dir, registries })
        .with_context(|| format!("the work folder {} cannot be used", settings.work_dir.display()))
}

/// Which registries and chart repositories may be asked.
pub fn reach(settings: &Settings) -> anyhow::Result<Reach> {
    let lists = [&settings.registry_hosts, &settings.registry_private_hosts, &settings.registry_http_hosts];
    let [named, private, plain_http] = lists.map(|text| settings::list(text));
    Reach::new(&named, &private, &plain_http).context("the registries' hosts cannot be used")
}

pub fn images(settings: &Settings) -> anyhow::Result<Registries> {
    let registries = Registries::new(reach(settings)?).context("registries cannot be asked")?;
    Ok(match settings.registry_auth()? {
        Some(config) => registries.with_credentials(
            Credentials::parse(&config)
                .with_context(|| format!("{} cannot be used", settings.name("registry_auth_file")))?,
        ),
        None => registries,
    })
}

/// Where previews are for those only who are signed in.
pub fn gateway_sign_in(settings: &Settings) -> anyhow::Result<Option<SignIn>> {
    if !settings.gateway_sign_in {
        return Ok(None);
    }
    let (Some(secret), Some(pages)) = (&settings.bootstrap_token, &settings.public_url) else {
        bail!(
            "SEATRIAL_GATEWAY_SIGN_IN sends visitors to Seatrial's pages to sign in: set SEATRIAL_PUBLIC_URL and SEATRIAL_BOOTSTRAP_TOKEN too"
        )
    };
    Ok(Some(SignIn::new(secret.expose_secret().as_bytes(), pages.clone())))
}

pub async fn cluster(settings: &Settings) -> anyhow::Result<KubeCluster> {
    let config = ClusterConfig {
        context: settings.kube_context.clone(),
        ingress_namespace: settings.ingress_namespace.clone(),
        api_server_cidrs: settings::list(&settings.api_server_cidrs),
        ..ClusterConfig::default()
    };
    KubeCluster::connect(config).await.context("Kubernetes cannot be used")
}
