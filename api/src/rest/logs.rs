use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::{BoxStream, unfold};
use poem::Body;
use poem::web::Data;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::{Binary, EventStream, PlainText};
use poem_openapi::{ApiResponse, OpenApi, ResponseContent};
use seatrial_operations::EnvironmentName;
use seatrial_operations::views::LogQuery;

use super::Tag;
use super::errors::ReadError;
use super::events::{STREAM_LIFETIME, until};
use crate::config::Api;
use crate::guard::Caller;
use crate::wire::LogEvent;

pub(crate) struct Logs;

#[derive(ResponseContent)]
enum LogContent {
    /// The lines there are.
    #[oai(actual_type = "PlainText<String>")]
    Text(Binary<Body>),
    /// Lines as they come, with `follow`.
    Follow(EventStream<BoxStream<'static, LogEvent>>),
}

#[derive(ApiResponse)]
enum LogAnswer {
    /// The log, oldest line first.
    #[oai(status = 200)]
    Log(
        LogContent,
        /// With `download`: a file name.
        #[oai(header = "Content-Disposition")]
        Option<String>,
    ),
}

/// Longer lines are cut into pieces.
const LINE_MAX: usize = 64 * 1024;

#[OpenApi(prefix_path = "/previews", tag = "Tag::Previews")]
impl Logs {
    /// Get the logs of a preview
    ///
    /// Of one container, as plain text; as server-sent events with `follow`.
    #[oai(path = "/:preview/logs", method = "get", operation_id = "getPreviewLogs")]
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the query")]
    async fn get(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// Its id or its namespace.
        preview: Path<String>,
        /// The newest pod when absent.
        pod: Query<Option<String>>,
        /// The pod's first container when absent.
        container: Query<Option<String>>,
        /// The log of the container's previous life.
        #[oai(default)]
        previous: Query<bool>,
        /// Only the last so many lines.
        #[oai(validator(minimum(value = "0"), maximum(value = "100000")))]
        tail: Query<Option<i64>>,
        /// Go on with lines as they come.
        #[oai(default)]
        follow: Query<bool>,
        /// Offer it as a file.
        #[oai(default)]
        download: Query<bool>,
    ) -> Result<LogAnswer, ReadError> {
        let name: EnvironmentName = preview.parse()?;
        let query = LogQuery {
            pod: pod.0.filter(|name| !name.is_empty()),
            container: container.0.filter(|name| !name.is_empty()),
            previous: previous.0,
            follow: follow.0,
            tail: tail.0,
        };
        let place = follow.0.then(|| api.limits.open_stream(caller.0.0.id())).transpose()?;
        let chunks = api.operations.get_logs(&caller.0.0, &name, query).await?;
        if follow.0 {
            let lines = lines(chunks).map(move |line| {
                let _open = &place;
                line
            });
            let lines = lines.take_until(until(&api.stopping, STREAM_LIFETIME)).boxed();
            let events = EventStream::new(lines).keep_alive(Duration::from_secs(15));
            return Ok(LogAnswer::Log(LogContent::Follow(events), None));
        }
        let body = Body::from_bytes_stream(chunks.map(|chunk| chunk.map_err(std::io::Error::other)));
        let file = download.0.then(|| format!("attachment; filename=\"{}.log\"", name.to_string().replace('"', "")));
        Ok(LogAnswer::Log(LogContent::Text(Binary(body)), file))
    }
}

/// Whole lines, whatever pieces they come in; then why there are no more.
fn lines(
    chunks: BoxStream<'static, Result<bytes::Bytes, impl std::fmt::Display + Send + 'static>>,
) -> impl futures::Stream<Item = LogEvent> + Send {
    let text = |line: &[u8]| LogEvent {
        line: Some(String::from_utf8_lossy(line).trim_end_matches(['\r', '\n']).to_owned()),
        end: None,
    };
    unfold((Some(chunks), Vec::new()), move |(mut chunks, mut rest)| async move {
        loop {
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                return Some((text(&line), (chunks, rest)));
            }
            if rest.len() > LINE_MAX {
                return Some((text(&std::mem::take(&mut rest)), (chunks, rest)));
            }
            match chunks.as_mut()?.next().await {
                Some(Ok(chunk)) => rest.extend_from_slice(&chunk),
                None if !rest.is_empty() => return Some((text(&std::mem::take(&mut rest)), (chunks, rest))),
                ended => {
                    let why = match ended {
                        Some(Err(error)) => error.to_string(),
                        _ => "The container has ended, or there is no more.".to_owned(),
                    };
                    return Some((LogEvent { line: None, end: Some(why) }, (None, rest)));
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures::stream::iter;

    use super::*;

    #[tokio::test]
    async fn lines_are_whole_and_the_end_is_told() {
        let chunks = ["one\ntw", "o\r\n", "", "three"].map(|text| Ok::<_, String>(Bytes::from(text)));
        let events: Vec<LogEvent> = lines(iter(chunks).boxed()).collect().await;
        let lines: Vec<_> = events.iter().filter_map(|event| event.line.as_deref()).collect();
        assert_eq!(lines, ["one", "two", "three"]);
        assert!(events.last().unwrap().end.is_some());
        assert_eq!(events.len(), 4);
    }

    #[tokio::test]
    async fn a_failure_ends_the_stream_with_its_reason() {
        let chunks = [Ok(Bytes::from("a\n")), Err("the pod is gone".to_owned())];
        let events: Vec<LogEvent> = lines(iter(chunks).boxed()).collect().await;
        assert_eq!(events.last().unwrap().end.as_deref(), Some("the pod is gone"));
    }

    #[tokio::test]
    async fn endless_lines_are_cut() {
        let chunks = vec![Ok::<_, String>(Bytes::from(vec![b'x'; LINE_MAX])); 3];
        let events: Vec<LogEvent> = lines(iter(chunks).boxed()).collect().await;
        assert!(events.iter().filter_map(|event| event.line.as_ref()).all(|line| line.len() <= 2 * LINE_MAX));
    }
}
