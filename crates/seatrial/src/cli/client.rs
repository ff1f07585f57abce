use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use futures::stream::BoxStream;
use futures::{StreamExt as _, TryStreamExt as _};
use reqwest::{Method, StatusCode};
use seatrial_api::LocalApi;
use seatrial_operations::Principal;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;

use super::{Reach, show};
use crate::house;
use crate::settings::Settings;

/// A server on this machine answers at once, or is not there.
const LOOK: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(60);

/// The API, wherever it is.
pub struct Client {
    way: Way,
    /// A server answers, which executes what is asked for, also where it was not asked itself.
    is_served: bool,
    pub json: bool,
}

enum Way {
    Server {
        base: Url,
        token: SecretString,
        http: reqwest::Client,
    },
    /// No server runs: this process does it.
    Here(Box<LocalApi>),
}

impl Client {
    pub async fn reach(reach: &Reach, settings: Settings) -> anyhow::Result<Self> {
        let json = reach.json;
        let http = reqwest::Client::builder()
            .connect_timeout(LOOK)
            // A followed log goes on; each answer begins in time.
            .read_timeout(PATIENCE)
            .build()
            .context("no HTTP client can be made")?;
        let token = reach.token.clone().or_else(|| settings.bootstrap_token.clone());
        if let Some(base) = &reach.server {
            let token = token.context(
                "there is no token: give one with --token or SEATRIAL_TOKEN; \"seatrial token create\" makes one",
            )?;
            return Ok(Self { way: Way::Server { base: base.clone(), token, http }, is_served: true, json });
        }
        let mut base: Url = format!("http://{}", settings.listen).parse()?;
        if settings.listen.ip().is_unspecified() {
            base.set_host(Some("127.0.0.1"))?;
        }
        let alive = http.get(base.join("/healthz")?).timeout(LOOK).send().await;
        let answers = alive.is_ok_and(|answer| answer.status().is_success());
        if let (true, Some(token)) = (answers, token) {
            return Ok(Self { way: Way::Server { base, token, http }, is_served: true, json });
        }
        // Also beside a server, for somebody who has its database but no token: it is how the first
        // token is made, and both may write.
        let database = named(&settings);
        let operations = house::build(&settings).await?.operations;
        let user = std::env::var("USER").ok().filter(|user| !user.is_empty()).unwrap_or_else(|| "somebody".to_owned());
        eprintln!("(on {database} itself)");
        let here = LocalApi::new(operations, Principal::local(&user));
        Ok(Self { way: Way::Here(Box::new(here)), is_served: answers, json })
    }

    /// Whether a worker executes what is asked for.
    pub fn is_served(&self) -> bool {
        self.is_served
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        self.ask(Method::POST, path, body).await
    }

    pub async fn put(&self, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        self.ask(Method::PUT, path, body).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> anyhow::Result<Value> {
        self.ask(Method::PATCH, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> anyhow::Result<Value> {
        self.ask(Method::DELETE, path, None).await
    }

    /// The answer's JSON; null where there is none. `path` is below `/api/v1`.
    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> anyhow::Result<Value> {
        let (status, stream) = self.open(method, path, body).await?;
        let bytes: Vec<u8> = stream
            .try_fold(Vec::new(), async |mut all, piece| {
                all.extend_from_slice(&piece);
                Ok(all)
            })
            .await
            .context("the answer broke off")?;
        if bytes.is_empty() && status.is_success() {
            return Ok(Value::Null);
        }
        let answer: Value = serde_json::from_slice(&bytes)
            .map_err(|_| anyhow!("the answer ({status}) is not JSON: is that a Seatrial server?"))?;
        if status.is_success() { Ok(answer) } else { Err(problem(&answer)) }
    }

    /// An answer that is no JSON, as it comes.
    pub async fn stream(&self, path: &str) -> anyhow::Result<BoxStream<'static, std::io::Result<bytes::Bytes>>> {
        let (status, stream) = self.open(Method::GET, path, None).await?;
        if status.is_success() {
            return Ok(stream);
        }
        let bytes: Vec<bytes::Bytes> = stream.try_collect().await.context("the answer broke off")?;
        Err(match serde_json::from_slice(&bytes.concat()) {
            Ok(answer) => problem(&answer),
            Err(_) => anyhow!("the server answered {status}"),
        })
    }

    async fn open(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> anyhow::Result<(StatusCode, BoxStream<'static, std::io::Result<bytes::Bytes>>)> {
        match &self.way {
            Way::Server { base, token, http } => {
                let url = base.join(&format!("/api/v1{path}"))?;
                let mut request = http.request(method.clone(), url).bearer_auth(token.expose_secret());
                if matches!(method, Method::POST | Method::PATCH) {
                    request = request.header("idempotency-key", uuid::Uuid::now_v7().to_string());
                }
                if let Some(body) = body {
                    request = request.json(&body);
                }
                let answer = request.send().await.with_context(|| format!("{base} cannot be asked"))?;
                let status = answer.status();
                Ok((status, answer.bytes_stream().map_err(std::io::Error::other).boxed()))
            }
            Way::Here(api) => {
                let body = body.map(|body| body.to_string().into_bytes());
                let answer = api.call(method, &format!("/api/v1{path}"), body).await;
                Ok((answer.status, answer.body))
            }
        }
    }

    /// All pages of a list, or its first `limit` items.
    pub async fn list(&self, path: &str, limit: usize) -> anyhow::Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut after: Option<String> = None;
        let joint = if path.contains('?') { '&' } else { '?' };
        loop {
            let size = (limit - items.len()).clamp(1, 200);
            let cursor = after.map(|after| format!("&after={}", encode(&after))).unwrap_or_default();
            let page = self.get(&format!("{path}{joint}limit={size}{cursor}")).await?;
            items.extend(page["items"].as_array().cloned().unwrap_or_default());
            after = page["next"].as_str().map(str::to_owned);
            if after.is_none() || items.len() >= limit {
                items.truncate(limit);
                return Ok(items);
            }
        }
    }

    /// Prints JSON for programs, or what `people` makes of it.
    pub fn answer(&self, answer: &Value, people: impl FnOnce(&Value) -> String) -> anyhow::Result<()> {
        if self.json { show::json(answer) } else { show::text(&people(answer)) }
    }

    /// Says of long work what has been begun, and waits for its end where that is wanted.
    pub async fn started(&self, answer: &Value, wait: bool) -> anyhow::Result<()> {
        let run = answer["run"].as_str().unwrap_or_default().to_owned();
        if !wait {
            return self.answer(answer, |answer| {
                let fresh = answer["fresh"].as_bool().unwrap_or(true);
                let what = if fresh { "Begun" } else { "That is being done, or was done, already" };
                let mut text = format!("{what}: run {run}. Follow it with \"seatrial run show {run}\".");
                if !self.is_served() {
                    text.push_str("\nNo server runs: the run waits until one is started.");
                }
                text
            });
        }
        if !self.is_served() {
            bail!("run {run} was begun, but no server runs that would execute it: start \"seatrial serve\"");
        }
        let run = super::run::wait(self, &run).await?;
        self.answer(&run, show::run_end)?;
        match run["run"]["state"].as_str() {
            Some("succeeded") => Ok(()),
            state => bail!("the run {}", state.unwrap_or("has no state")),
        }
    }
}

/// The database as people find it again: a file by its whole path, and whether it was there.
fn named(settings: &Settings) -> String {
    let Some(file) = settings.database_url.strip_prefix("sqlite://") else {
        return format!("the database {}", settings.database());
    };
    let file = Path::new(file.split('?').next().unwrap_or(file));
    let whole = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    let new = if file.exists() { "" } else { "new " };
    format!("the {new}database {}", whole.display())
}

/// What the API says is wrong, and which fields.
fn problem(answer: &Value) -> anyhow::Error {
    let detail = answer["detail"].as_str().unwrap_or("the server does not say what is wrong");
    let errors = answer["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    // With one wrong field, the sentence names it already.
    let fields = errors.iter().filter(|_| errors.len() > 1).map(|error| {
        let pointer = error["pointer"].as_str().unwrap_or_default().trim_start_matches('/');
        format!("\n  {pointer}: {}", error["message"].as_str().unwrap_or_default())
    });
    anyhow!("{detail}{}", fields.collect::<String>())
}

/// For a path's segment or a query's value.
pub fn encode(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// A query of what is given.
pub fn query(pairs: &[(&str, Option<String>)]) -> String {
    let given = pairs.iter().filter_map(|(name, value)| Some(format!("{name}={}", encode(value.as_ref()?))));
    let query = given.collect::<Vec<_>>().join("&");
    if query.is_empty() { query } else { format!("?{query}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_encoded_for_paths() {
        assert_eq!(encode("acme/shop#7"), "acme%2Fshop%237");
        assert_eq!(encode("a b+c"), "a%20b%2Bc");
        assert_eq!(query(&[("a", None), ("b", Some("x y".to_owned())), ("c", Some("1".to_owned()))]), "?b=x%20y&c=1");
        assert_eq!(query(&[("a", None)]), "");
    }

    #[test]
    fn every_wrong_field_is_told() {
        let one =
            json!({ "detail": "number: must be 1", "errors": [{ "pointer": "/number", "message": "must be 1" }] });
        assert_eq!(problem(&one).to_string(), "number: must be 1");
        let two = json!({ "detail": "two are wrong", "errors": [
            { "pointer": "/a", "message": "is empty" }, { "pointer": "/b", "message": "is long" }] });
        assert_eq!(problem(&two).to_string(), "two are wrong\n  a: is empty\n  b: is long");
    }
}
