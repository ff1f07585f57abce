//! A stand-in to ask, and a receiver for its events.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use poem::http::{HeaderMap, Method, StatusCode};
use poem::listener::TcpAcceptor;
use poem::{Endpoint, Request, Response, Server};
use seatrial_github_standin::{Control, DEFAULT_TOKEN, NewPull, Options, PullView, Standin, files};
use serde_json::Value;
use tokio::sync::{Mutex, mpsc};

pub const PATIENCE: Duration = Duration::from_secs(20);
pub const SHOP: &str = "acme/shop";

/// A stand-in with one repository.
pub struct World {
    pub standin: Standin,
    pub control: Control,
    http: reqwest::Client,
}

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl World {
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let standin = Standin::start("127.0.0.1:0", options).await.unwrap();
        let control = standin.control().unwrap();
        let text = [("README.md", "Shop\n"), ("chart/Chart.yaml", "name: shop\n")];
        control.repository(SHOP, files(text)).await.unwrap();
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("contract")
            .build()
            .unwrap();
        Self { standin, control, http }
    }

    /// Opens a pull request from a branch of that name.
    pub async fn open(&self, branch: &str) -> PullView {
        let new = NewPull {
            title: format!("Work on {branch}"),
            head: branch.to_owned(),
            files: files([(format!("{branch}.txt"), "1\n")]),
            ..NewPull::default()
        };
        self.control.open_pull(SHOP, &new).await.unwrap()
    }

    pub fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.standin.url()) };
        self.http.request(method, url)
    }

    pub async fn send(&self, request: reqwest::RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        Answer {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            bytes: response.bytes().await.unwrap().to_vec(),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path).bearer_auth(DEFAULT_TOKEN)).await
    }

    pub async fn call(&self, method: Method, path: &str, body: Value) -> Answer {
        let request = self.request(method, path).bearer_auth(DEFAULT_TOKEN).json(&body);
        self.send(request).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Method::POST, path, body).await
    }
}

/// One event as it arrived.
#[derive(Debug)]
pub struct Event {
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Event {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// `event action`
    pub fn name(&self) -> String {
        let action = self.json()["action"].as_str().unwrap_or_default().to_owned();
        format!("{} {action}", self.header("x-github-event")).trim().to_owned()
    }
}

/// A receiver that keeps events in order of arrival.
pub struct Receiver {
    pub url: String,
    events: Mutex<mpsc::UnboundedReceiver<Event>>,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
}

struct Sink {
    sender: mpsc::UnboundedSender<Event>,
    status: StatusCode,
}

impl Endpoint for Sink {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let body = request.take_body().into_vec().await?;
        let headers = request.headers().clone();
        // The test may be over.
        let _ = self.sender.send(Event { headers, body });
        Ok(Response::builder().status(self.status).body("taken"))
    }
}

impl Receiver {
    pub async fn start(status: u16) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        let (sender, events) = mpsc::unbounded_channel();
        let sink = Sink { sender, status: StatusCode::from_u16(status).unwrap() };
        let acceptor = TcpAcceptor::from_tokio(listener).unwrap();
        let server = tokio::spawn(Server::new_with_acceptor(acceptor).run(sink));
        Arc::new(Self { url: format!("http://{address}/hook"), events: Mutex::new(events), server })
    }

    pub async fn next(&self) -> Event {
        let mut events = self.events.lock().await;
        tokio::time::timeout(PATIENCE, events.recv()).await.expect("an event should have come").unwrap()
    }

    /// The names of the next events.
    pub async fn names(&self, count: usize) -> Vec<String> {
        let mut names = Vec::new();
        for _ in 0..count {
            names.push(self.next().await.name());
        }
        names
    }

    /// Events that are there already.
    pub async fn waiting(&self) -> usize {
        let mut events = self.events.lock().await;
        let mut count = 0;
        while events.try_recv().is_ok() {
            count += 1;
        }
        count
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}
