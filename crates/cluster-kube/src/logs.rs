//! Logs of containers.

use bytes::Bytes;
use futures::io::AsyncReadExt;
use futures::stream::{self, BoxStream};
use futures::{AsyncBufRead, AsyncBufReadExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::LogParams;
use kube::{Api, ResourceExt};
use seatrial_preview::ports::LogQuery;
use seatrial_preview::{Error, Namespace, Result};

use crate::cluster::KubeCluster;
use crate::pods;

/// Lines given when the caller names no number.
const DEFAULT_TAIL: i64 = 1_000;
const MOST_TAIL: i64 = 20_000;
/// A line without end is cut into pieces of this size.
const LONGEST_LINE: u64 = 64 << 10;

/// The end of a log that is kept as evidence.
pub(crate) const KEPT_BYTES: usize = 64 << 10;
const KEPT_LINES: i64 = 1_000;
/// More than this is not even read: lines may be endless.
const READ_BYTES: u64 = 4 << 20;

/// One item for each line, with its line feed.
pub(crate) async fn stream(
    cluster: &KubeCluster,
    namespace: &Namespace,
    query: LogQuery,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    let pod = find_pod(cluster, namespace, query.pod.as_deref()).await?;
    let container = find_container(&pod, query.container.as_deref())?;
    let name = pod.name_any();
    let doing = format!("read the log of container {container:?} of pod {name:?}");
    let params = LogParams {
        container: Some(container),
        follow: query.follow,
        previous: query.previous,
        tail_lines: Some(query.tail.unwrap_or(DEFAULT_TAIL).clamp(0, MOST_TAIL)),
        ..LogParams::default()
    };
    let api: Api<Pod> = Api::namespaced(cluster.streams.clone(), namespace.as_str());
    let reader = match api.log_stream(&name, &params).await {
        Ok(reader) => reader,
        Err(error) => return Err(explain(cluster, namespace, &doing, error).await),
    };
    Ok(lines(Box::pin(reader), doing).boxed())
}

fn lines(
    reader: impl AsyncBufRead + Send + Unpin + 'static,
    doing: String,
) -> impl futures::Stream<Item = Result<Bytes>> {
    stream::unfold(Some(reader), move |reader| {
        let doing = doing.clone();
        async move {
            let mut reader = reader?;
            let mut line = Vec::new();
            match (&mut reader).take(LONGEST_LINE).read_until(b'\n', &mut line).await {
                Ok(0) => None,
                Ok(_) => Some((Ok(Bytes::from(line)), Some(reader))),
                Err(error) => Some((Err(Error::transient(format!("cannot {doing} to its end: {error}"))), None)),
            }
        }
    })
}

async fn find_pod(cluster: &KubeCluster, namespace: &Namespace, name: Option<&str>) -> Result<Pod> {
    let pods = pods::list(cluster, namespace).await?;
    if pods.is_empty() {
        return Err(Error::not_found(format!("the namespace {namespace} has no pods")));
    }
    let names: Vec<String> = pods.iter().take(pods::MOST_PODS).map(ResourceExt::name_any).collect();
    pods.into_iter().find(|pod| name.is_none_or(|name| pod.name_any() == name)).ok_or_else(|| {
        Error::not_found(format!(
            "the namespace {namespace} has no pod {:?}; there are {}",
            name.unwrap_or_default(),
            names.join(", ")
        ))
    })
}

fn find_container(pod: &Pod, name: Option<&str>) -> Result<String> {
    let names = pods::container_names(pod);
    names.iter().find(|found| name.is_none_or(|name| *found == name)).cloned().ok_or_else(|| {
        Error::not_found(format!(
            "the pod {:?} has no container {:?}; there are {}",
            pod.name_any(),
            name.unwrap_or_default(),
            names.join(", ")
        ))
    })
}

/// The API server answers 400 for logs that are not there, or not there yet.
async fn explain(cluster: &KubeCluster, namespace: &Namespace, doing: &str, error: kube::Error) -> Error {
    match &error {
        kube::Error::Api(status) if status.code == 400 && status.message.contains("previous terminated") => {
            Error::not_found(format!("cannot {doing}: the container has no previous life, it never ended"))
        }
        kube::Error::Api(status) if status.code == 400 && status.message.contains("waiting to start") => {
            Error::transient(format!("cannot {doing}: it has not started yet ({})", status.message))
        }
        _ => cluster.explain_in(namespace, doing, error).await,
    }
}

/// The last lines of a log, at most [`KEPT_BYTES`]; `None` when there is no log.
pub(crate) async fn tail(
    cluster: &KubeCluster,
    namespace: &Namespace,
    pod: &str,
    container: &str,
    previous: bool,
) -> Option<String> {
    let params = LogParams {
        container: Some(container.to_owned()),
        previous,
        tail_lines: Some(KEPT_LINES),
        ..LogParams::default()
    };
    let reader = cluster.api::<Pod>(namespace).log_stream(pod, &params).await.ok()?;
    let mut reader = Box::pin(reader).take(READ_BYTES);
    let mut kept: Vec<u8> = Vec::new();
    let mut piece = vec![0; 16 << 10];
    // What was read before the log broke off is still evidence.
    while let Ok(count @ 1..) = reader.read(&mut piece).await {
        kept.extend_from_slice(&piece[..count]);
        if kept.len() > 2 * KEPT_BYTES {
            kept.drain(..kept.len() - KEPT_BYTES);
        }
    }
    if kept.len() > KEPT_BYTES {
        kept.drain(..kept.len() - KEPT_BYTES);
        // Begin with a whole line.
        if let Some(end) = kept.iter().position(|byte| *byte == b'\n') {
            kept.drain(..=end);
        }
    }
    let text = String::from_utf8_lossy(&kept).into_owned();
    (!text.trim().is_empty()).then_some(text)
}

/// The last `count` lines of a text, at most `most` bytes.
pub(crate) fn last_lines(text: &str, count: usize, most: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut kept = Vec::new();
    let mut size = 0;
    for line in lines.iter().rev().take(count) {
        size += line.len() + 1;
        if size > most && !kept.is_empty() {
            break;
        }
        kept.push(pods::bounded(line, most));
    }
    kept.reverse();
    kept.join("\n")
}

#[cfg(test)]
mod tests {
    use futures::io::Cursor;

    use super::*;

    #[tokio::test]
    async fn lines_are_whole_and_bounded() {
        let mut text = b"one\ntwo\n".to_vec();
        text.extend(std::iter::repeat_n(b'x', 70_000));
        let found: Vec<usize> =
            lines(Cursor::new(text), "read".to_owned()).map(|line| line.unwrap().len()).collect().await;
        assert_eq!(found, [4, 4, 65_536, 70_000 - 65_536]);
    }

    #[test]
    fn last_lines_are_bounded() {
        assert_eq!(last_lines("a\nb\nc\n", 2, 100), "b\nc");
        assert_eq!(last_lines("aaaa\nbbbb\ncc\n", 3, 8), "bbbb\ncc");
        assert_eq!(last_lines("", 3, 8), "");
    }
}
