use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::{BoxStream, unfold};
use seatrial_preview::mask::Mask;
use seatrial_preview::ports::{LogQuery, ProjectSecrets as _};

use crate::access::Principal;
use crate::error::{OperationError, Port};
use crate::name::EnvironmentName;
use crate::operations::{Operations, PATIENCE};

/// Longer lines are cut into pieces.
const LINE_MAX: usize = 64 * 1024;

impl Operations {
    /// Log lines of one container, oldest first. With `follow` they go on until the container
    /// ends or the stream is dropped. Values of the project's secrets are masked.
    pub async fn get_logs(
        &self,
        who: &Principal,
        name: &EnvironmentName,
        query: LogQuery,
    ) -> Result<Chunks, OperationError> {
        for (field, value) in [("pod", &query.pod), ("container", &query.container)] {
            if value.as_deref().is_some_and(|name| !is_object_name(name)) {
                return Err(OperationError::field(field, "is not a name of Kubernetes: a-z, 0-9, '-' and '.'"));
            }
        }
        if query.tail.is_some_and(|lines| !(0..=100_000).contains(&lines)) {
            return Err(OperationError::field("tail", "must be a number of lines from 0 to 100000"));
        }
        let environment = self.get_preview(who, name).await?.environment;
        let lines = self.ask(Port::Cluster, PATIENCE, self.cluster.logs(&environment.namespace, query)).await?;
        let secrets =
            self.vault.load(&environment.at.repository).await.map_err(|error| OperationError::Broken(error.message))?;
        let mask = Mask::new(&secrets.unwrap_or_default());
        Ok(if mask.is_empty() { lines } else { masked(lines, mask) })
    }
}

type Chunks = BoxStream<'static, seatrial_preview::Result<Bytes>>;

/// Whole lines with the secrets taken out: a chunk may end in the middle of one.
fn masked(chunks: Chunks, mask: Mask) -> Chunks {
    unfold((Some(chunks), BytesMut::new(), mask), |(mut chunks, mut rest, mask)| async move {
        loop {
            let whole = rest.iter().rposition(|byte| *byte == b'\n').map(|end| end + 1);
            let whole = whole.or_else(|| (rest.len() > LINE_MAX).then_some(rest.len()));
            if let Some(end) = whole {
                let lines = mask.bytes(rest.split_to(end).freeze());
                return Some((Ok(lines), (chunks, rest, mask)));
            }
            match chunks.as_mut()?.next().await {
                Some(Ok(chunk)) => rest.extend_from_slice(&chunk),
                Some(Err(error)) => return Some((Err(error), (None, BytesMut::new(), mask))),
                None if rest.is_empty() => return None,
                None => return Some((Ok(mask.bytes(rest.split().freeze())), (None, rest, mask))),
            }
        }
    })
    .boxed()
}

/// These names become part of a path of the API server.
fn is_object_name(name: &str) -> bool {
    let alphanumeric = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    name.len() <= 253
        && name.bytes().all(|b| alphanumeric(b) || matches!(b, b'-' | b'.'))
        && name.bytes().next().is_some_and(alphanumeric)
}

#[cfg(test)]
mod tests {
    use futures::stream::iter;
    use seatrial_preview::ports::ProjectSecret;

    use super::*;

    #[tokio::test]
    async fn a_secret_is_masked_also_where_a_chunk_ends_in_it() {
        let secret = ProjectSecret { name: "A".parse().unwrap(), value: "hunter2".to_owned().into() };
        let chunks = ["a hun", "ter2 b\nc", " hunter", "2"].map(|text| Ok(Bytes::from(text)));
        let lines: Vec<_> = masked(iter(chunks).boxed(), Mask::new(&[secret])).collect().await;
        let text: String = lines.into_iter().map(|line| String::from_utf8(line.unwrap().to_vec()).unwrap()).collect();
        assert_eq!(text, "a *** b\nc ***");
    }

    #[test]
    fn names_cannot_leave_their_place_in_a_path() {
        assert!(is_object_name("shop-7d9f.x"));
        for bad in ["", ".", "..", "../x", "a/b", "a?b", "A", "a b", "a\0"] {
            assert!(!is_object_name(bad), "{bad:?}");
        }
    }
}
