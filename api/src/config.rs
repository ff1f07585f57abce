use ipnet::IpNet;
use metrics_exporter_prometheus::PrometheusHandle;
use seatrial_operations::Operations;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::gateway::SignIn;
use crate::limits::Limits;

/// How the front is reached.
#[derive(Clone, Default)]
pub struct ApiConfig {
    /// Where people open the pages, if that is not where they listen.
    pub public_url: Option<Url>,
    /// Hosts, without ports, that requests may be for, besides loopback and `public_url`'s.
    pub allowed_hosts: Vec<String>,
    /// What `/metrics` shows; without it the path answers 404.
    pub metrics: Option<PrometheusHandle>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Hands people over to the gateway's previews, where those ask for sign-in.
    pub gateway_sign_in: Option<SignIn>,
}

/// What every handler has.
pub(crate) struct Api {
    pub operations: Arc<Operations>,
    pub config: ApiConfig,
    pub limits: Limits,
    /// Cancelled when the server stops: streams that would go on for ever end.
    pub stopping: CancellationToken,
}

impl ApiConfig {
    /// Host names, without ports, that requests may be for.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let own = self.public_url.as_ref().and_then(Url::host_str).map(str::to_owned);
        let loopback = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        loopback
            .into_iter()
            .chain(own)
            .chain(self.allowed_hosts.iter().cloned())
            .map(|h| h.to_ascii_lowercase())
            .collect()
    }

    pub(crate) fn is_https(&self) -> bool {
        self.public_url.as_ref().is_some_and(|url| url.scheme() == "https")
    }
}
