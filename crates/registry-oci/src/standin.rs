//! A server that says what a test wants: enough HTTP/1.1 to be asked by a client, and a record of
//! what it was asked.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request's method, path with query, and headers (names in lower case).
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn reply(status: u16, headers: &[(&'static str, &str)], body: impl Into<Vec<u8>>) -> Reply {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Reply { status, headers, body: body.into() }
}

/// Serves until it is dropped.
pub(crate) struct Standin {
    /// `127.0.0.1:PORT`
    pub(crate) host: String,
    asked: Arc<Mutex<Vec<Request>>>,
    server: tokio::task::JoinHandle<()>,
}

impl Standin {
    /// `answer` is given the stand-in's own host too.
    pub(crate) async fn serve(answer: impl Fn(&Request, &str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let asked: Arc<Mutex<Vec<Request>>> = Arc::default();
        let (record, own, answer) = (asked.clone(), host.clone(), Arc::new(answer));
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (record, own, answer) = (record.clone(), own.clone(), answer.clone());
                tokio::spawn(async move {
                    let _ = talk(stream, |request| {
                        record.lock().unwrap().push(request.clone());
                        answer(request, &own)
                    })
                    .await;
                });
            }
        });
        Self { host, asked, server }
    }

    /// From when this returns on, nobody listens there.
    pub(crate) async fn stop(mut self) {
        self.server.abort();
        let _ = (&mut self.server).await;
    }

    pub(crate) fn asked(&self) -> Vec<Request> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Standin {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// One request, one answer, and the end of the connection.
async fn talk(mut stream: TcpStream, answer: impl FnOnce(&Request) -> Reply) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let request = Request {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        headers: lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect(),
    };
    let reply = answer(&request);
    let mut text =
        format!("HTTP/1.1 {} X\r\nconnection: close\r\ncontent-length: {}\r\n", reply.status, reply.body.len());
    for (name, value) in &reply.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes()).await?;
    if request.method != "HEAD" {
        stream.write_all(&reply.body).await?;
    }
    stream.shutdown().await
}
