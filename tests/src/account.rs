//! The account Seatrial works under, made by its own chart, and a token of it.

use std::fs::File;

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::Api;
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::cluster::Cluster;
use crate::setting::Setting;

const NAMESPACE: &str = "seatrial";
const ACCOUNT: &str = "seatrial";
const RELEASE: &str = "seatrial";
const TOKEN_SECONDS: i64 = 24 * 3600;

static INSTALLED: OnceCell<()> = OnceCell::const_new();

/// A kubeconfig with Seatrial's own rights and no others, which reaches the cluster at `address`.
pub(crate) async fn kubeconfig(setting: &Setting, cluster: &Cluster, address: &Value) -> Result<String> {
    INSTALLED.get_or_try_init(|| install(setting, cluster)).await?;
    let token = request_token(cluster).await?;
    let text = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "tests", "cluster": address }],
        "users": [{ "name": ACCOUNT, "user": { "token": token } }],
        "contexts": [{ "name": "tests", "context": { "cluster": "tests", "user": ACCOUNT } }],
        "current-context": "tests",
    });
    Ok(text.to_string())
}

/// Installs or updates the account and its rules. One process at a time.
async fn install(setting: &Setting, cluster: &Cluster) -> Result<()> {
    let _lock = tokio::task::spawn_blocking(|| {
        let file = File::create(std::env::temp_dir().join("seatrial-tests-account.lock"))?;
        file.lock()?;
        Ok::<_, std::io::Error>(file)
    })
    .await?
    .context("locking the installation of Seatrial's account")?;
    let said = match helm(setting).await {
        Ok(()) => return Ok(()),
        Err(error) => error,
    };
    if !format!("{said:#}").contains("another operation") {
        return Err(said);
    }
    // Whoever holds the lock is the only one: an earlier installation was killed in the middle.
    forget_pending(cluster).await?;
    helm(setting).await
}

async fn helm(setting: &Setting) -> Result<()> {
    let chart = crate::folder().join("../charts/seatrial");
    let mut command = Command::new(&setting.helm);
    command
        .args(["upgrade", "--install", RELEASE])
        .arg(&chart)
        .args(["--namespace", NAMESPACE, "--create-namespace", "--set", "server.enabled=false", "--kubeconfig"])
        .arg(&setting.kubeconfig)
        .kill_on_drop(true);
    if let Some(context) = &setting.context {
        command.args(["--kube-context", context]);
    }
    let output = command.output().await.with_context(|| format!("running {}", setting.helm.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "helm could not install charts/seatrial: {}", said.trim());
    Ok(())
}

async fn forget_pending(cluster: &Cluster) -> Result<()> {
    let secrets: Api<Secret> = Api::namespaced(cluster.client(), NAMESPACE);
    let pending = format!("owner=helm,name={RELEASE},status in (pending-install,pending-upgrade,pending-rollback)");
    secrets.delete_collection(&DeleteParams::default(), &ListParams::default().labels(&pending)).await?;
    Ok(())
}

async fn request_token(cluster: &Cluster) -> Result<String> {
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client(), NAMESPACE);
    let request = TokenRequest {
        spec: TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() },
        ..TokenRequest::default()
    };
    let made = accounts
        .create_token_request(ACCOUNT, &PostParams::default(), &request)
        .await
        .context("asking for a token of Seatrial's account")?;
    match made.status {
        Some(status) => Ok(status.token),
        None => bail!("the API server answered without a token"),
    }
}
