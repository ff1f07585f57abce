//! Starting and stopping.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::apps::App;
use crate::auth::Permission;
use crate::clock::Clock;
use crate::connections::CuttingAcceptor;
use crate::control::client::Control;
use crate::control::types::{Seed, TokenSpec};
use crate::gateway::Gateway;
use crate::shared::Core;
use crate::state::State;
use crate::tokens;
use crate::users::AccountKind;

/// The personal token that works unless others are given; it may write everywhere.
pub const DEFAULT_TOKEN: &str = "ghp_standin";

/// Whose token [`DEFAULT_TOKEN`] is.
pub const DEFAULT_LOGIN: &str = "seatrial-bot";

/// The App's client id that sign-in works with unless another is given.
pub const DEFAULT_CLIENT_ID: &str = "Iv23li00000000004242";

/// The secret that goes with it.
pub const DEFAULT_CLIENT_SECRET: &str = "standin-client-secret";

/// How a stand-in starts.
#[derive(Clone, Debug)]
pub struct Options {
    /// What others reach it at, where that is not the address it listens on.
    pub public_url: Option<String>,
    /// Where events go.
    pub webhook_url: Option<String>,
    /// What they are signed with.
    pub webhook_secret: String,
    /// Personal tokens.
    pub tokens: Vec<TokenSpec>,
    /// The App's number, which its tokens name as issuer.
    pub app_id: u64,
    /// The App's name in addresses; its account is `{slug}[bot]`.
    pub app_slug: String,
    /// What the App signs people in with. One that does not begin with `Iv` is an OAuth App's.
    pub client_id: String,
    /// The secret that goes with it.
    pub client_secret: String,
    /// Where people may be sent back to after signing in; anywhere where none is given.
    pub callback_urls: Vec<String>,
    /// PEM; where it is given, the App's signatures are checked.
    pub app_public_key: Option<String>,
    /// The time.
    pub clock: Clock,
    /// What is there from the start.
    pub seed: Seed,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            public_url: None,
            webhook_url: None,
            webhook_secret: String::new(),
            tokens: vec![TokenSpec {
                token: DEFAULT_TOKEN.to_owned(),
                login: DEFAULT_LOGIN.to_owned(),
                permission: Some(Permission::Write),
            }],
            app_id: 4242,
            app_slug: "seatrial".to_owned(),
            client_id: DEFAULT_CLIENT_ID.to_owned(),
            client_secret: DEFAULT_CLIENT_SECRET.to_owned(),
            callback_urls: Vec::new(),
            app_public_key: None,
            clock: Clock::default(),
            seed: Seed::default(),
        }
    }
}

/// A running stand-in. It stops when this is dropped.
#[derive(Debug)]
pub struct Standin {
    address: SocketAddr,
    base: String,
    clock: Clock,
    core: Arc<Core>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<io::Result<()>>,
}

impl Standin {
    /// Listens on `address` (port 0 for any that is free) and serves.
    pub async fn start(address: &str, options: Options) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.with_context(|| format!("listening on {address}"))?;
        let address = listener.local_addr()?;
        let base = match &options.public_url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => format!("http://{address}"),
        };
        let clock = options.clock.clone();
        let core = Core::new(build(base.clone(), options)?, http_client()?);
        // The seed's events, if a hook was given, go out now.
        core.change(|_| ());
        let acceptor = CuttingAcceptor::new(listener, core.connections.clone())?;
        let gateway = Gateway { core: Arc::clone(&core) };
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(poem::Server::new_with_acceptor(acceptor).run_with_graceful_shutdown(
            gateway,
            async move {
                // A sender that is gone says the same as one that speaks.
                let _ = stopped.await;
            },
            Some(Duration::ZERO),
        ));
        tracing::info!(%base, "the GitHub stand-in listens");
        Ok(Self { address, base, clock, core, stop: Some(stop), server })
    }

    /// The address of the API and of the pages.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// The socket it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The clock, to be moved by tests.
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// A client of the control API.
    pub fn control(&self) -> anyhow::Result<Control> {
        Control::new(&format!("http://{}", self.address))
    }

    /// Waits until no event is under way to the webhook.
    pub async fn settled(&self) {
        self.core.dispatcher.settled().await;
    }

    /// Stops, and waits until it has.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        if let Some(stop) = self.stop.take() {
            // The server may have ended already.
            let _ = stop.send(());
        }
        (&mut self.server).await?.context("serving")
    }

    /// Serves until the server ends by itself, which it does not do unless it fails.
    pub async fn wait(mut self) -> anyhow::Result<()> {
        (&mut self.server).await?.context("serving")
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // The server may have ended already.
            let _ = stop.send(());
        }
    }
}

fn build(base: String, options: Options) -> anyhow::Result<State> {
    let public_key = match &options.app_public_key {
        Some(pem) => Some(tokens::parse_public_key(pem).context("the App's public key")?),
        None => None,
    };
    let permissions = [
        ("checks", "write"),
        ("contents", "read"),
        ("deployments", "write"),
        ("issues", "write"),
        ("metadata", "read"),
        ("pull_requests", "write"),
        ("statuses", "write"),
    ];
    let app = App {
        id: options.app_id,
        client_id: options.client_id,
        client_secret: options.client_secret,
        callback_urls: options.callback_urls,
        name: options.app_slug.clone(),
        slug: options.app_slug,
        owner: "octocat".to_owned(),
        public_key,
        permissions: permissions
            .map(|(name, level)| (name.to_owned(), level.to_owned()))
            .into_iter()
            .collect::<BTreeMap<_, _>>(),
        created_at: options.clock.now(),
    };
    let mut state = State::new(base, options.clock, app);
    state.account("octocat", AccountKind::User);
    for token in &options.tokens {
        state.give_token(token);
    }
    state.hooks.secret = options.webhook_secret;
    state.hooks.url = options.webhook_url;
    state.sow(&options.seed).map_err(|refusal| anyhow::anyhow!("the seed: {}", refusal.message()))?;
    Ok(state)
}

/// A client for plain HTTP; the TLS provider is only what it insists on having.
pub(crate) fn http_client() -> anyhow::Result<reqwest::Client> {
    // Somebody else may have installed one, which serves as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .context("making an HTTP client")
}
