//! A byte stream into a pod.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{ListParams, Portforwarder};
use kube::{Api, ResourceExt};
use seatrial_preview::environment::ServiceTarget;
use seatrial_preview::ports::ByteStream;
use seatrial_preview::{Error, Namespace, Result};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::cluster::KubeCluster;
use crate::{pods, targets};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

pub(crate) async fn connect(
    cluster: &KubeCluster,
    namespace: &Namespace,
    target: &ServiceTarget,
) -> Result<Box<dyn ByteStream>> {
    let service = targets::load(cluster, namespace, target).await?;
    let selector = selector(&service).ok_or_else(|| {
        Error::invalid(format!("the service {} selects no pods, so nothing can be forwarded to it", target.service))
    })?;
    let params = ListParams::default().labels(&selector);
    let candidates = pods::list_selected(cluster, namespace, &params).await?;
    let (pod, port) = candidates
        .iter()
        .filter(|pod| pods::is_ready(pod))
        .find_map(|pod| Some((pod.name_any(), target_port(&service, pod, target.port)?)))
        .ok_or_else(|| {
            Error::transient(format!(
                "no pod behind the service {}:{} in {namespace} is ready ({} not ready)",
                target.service,
                target.port,
                candidates.len()
            ))
        })?;
    let doing = format!("open port {port} of pod {pod:?}");
    let api: Api<Pod> = Api::namespaced(cluster.streams.clone(), namespace.as_str());
    let mut forwarder = match tokio::time::timeout(CONNECT_TIMEOUT, api.portforward(&pod, &[port])).await {
        Ok(Ok(forwarder)) => forwarder,
        Ok(Err(error)) => return Err(cluster.explain_in(namespace, &doing, error).await),
        Err(_) => {
            return Err(Error::transient(format!("cannot {doing}: no answer within {} s", CONNECT_TIMEOUT.as_secs())));
        }
    };
    let stream = forwarder.take_stream(port);
    let failure = forwarder.take_error(port);
    match (stream, failure) {
        (Some(stream), Some(failure)) => Ok(Box::new(Forwarded { stream, failure: Some(failure.boxed()), forwarder })),
        _ => Err(Error::transient(format!("cannot {doing}: the stream was not opened"))),
    }
}

fn selector(service: &Service) -> Option<String> {
    let labels = service.spec.as_ref()?.selector.as_ref().filter(|labels| !labels.is_empty())?;
    Some(labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(","))
}

/// The pod's own port behind the service's: a number, or the name of a container's port.
fn target_port(service: &Service, pod: &Pod, port: u16) -> Option<u16> {
    let declared = service.spec.as_ref()?.ports.as_ref()?.iter().find(|found| found.port == i32::from(port))?;
    match declared.target_port.as_ref() {
        None => Some(port),
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
        Some(IntOrString::String(name)) => {
            let containers = pod.spec.as_ref()?.containers.iter();
            let mut ports = containers.flat_map(|container| container.ports.iter().flatten());
            let found = ports.find(|found| found.name.as_ref() == Some(name))?;
            u16::try_from(found.container_port).ok()
        }
    }
}

/// A forwarded port. Ends the forwarding when it is dropped, and tells of the pod's refusal, which
/// kube reports apart from the stream.
struct Forwarded {
    stream: DuplexStream,
    failure: Option<BoxFuture<'static, Option<String>>>,
    forwarder: Portforwarder,
}

impl Drop for Forwarded {
    fn drop(&mut self) {
        self.forwarder.abort();
    }
}

impl AsyncRead for Forwarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        // What the pod has sent comes first, then why it ended.
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let ended = matches!(read, Poll::Ready(Ok(()))) && buffer.filled().len() == before && buffer.remaining() > 0;
        if (read.is_pending() || ended)
            && let Some(failure) = &mut self.failure
            && let Poll::Ready(said) = failure.poll_unpin(cx)
        {
            self.failure = None;
            if let Some(message) = said {
                return Poll::Ready(Err(std::io::Error::new(std::io::ErrorKind::ConnectionRefused, message)));
            }
        }
        read
    }
}

impl AsyncWrite for Forwarded {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn target_ports() {
        let pod: Pod = serde_json::from_value(json!({ "spec": { "containers": [
            { "name": "shop", "ports": [{ "name": "web", "containerPort": 3000 }] },
        ] } }))
        .unwrap();
        let service: Service = serde_json::from_value(json!({ "spec": {
            "selector": { "app": "shop", "tier": "front" },
            "ports": [{ "port": 80, "targetPort": "web" }, { "port": 81, "targetPort": 3001 }, { "port": 82 }],
        } }))
        .unwrap();
        assert_eq!(target_port(&service, &pod, 80), Some(3000));
        assert_eq!(target_port(&service, &pod, 81), Some(3001));
        assert_eq!(target_port(&service, &pod, 82), Some(82));
        assert_eq!(target_port(&service, &pod, 83), None);
        assert_eq!(selector(&service).as_deref(), Some("app=shop,tier=front"));
        assert_eq!(selector(&Service::default()), None);
    }
}
