use bytes::Bytes;
use futures::stream::BoxStream;
use seatrial_preview::ports::LogQuery;

use crate::access::Principal;
use crate::error::{OperationError, Port};
use crate::name::EnvironmentName;
use crate::operations::{Operations, PATIENCE};

impl Operations {
    /// Log lines of one container, oldest first. With `follow` they go on until the container
    /// ends or the stream is dropped.
    pub async fn get_logs(
        &self,
        who: &Principal,
        name: &EnvironmentName,
        query: LogQuery,
    ) -> Result<BoxStream<'static, seatrial_preview::Result<Bytes>>, OperationError> {
        for (field, value) in [("pod", &query.pod), ("container", &query.container)] {
            if value.as_deref().is_some_and(|name| !is_object_name(name)) {
                return Err(OperationError::field(field, "is not a name of Kubernetes: a-z, 0-9, '-' and '.'"));
            }
        }
        if query.tail.is_some_and(|lines| !(0..=100_000).contains(&lines)) {
            return Err(OperationError::field("tail", "must be a number of lines from 0 to 100000"));
        }
        let environment = self.get_preview(who, name).await?.environment;
        self.ask(Port::Cluster, PATIENCE, self.cluster.logs(&environment.namespace, query)).await
    }
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
    use super::is_object_name;

    #[test]
    fn names_cannot_leave_their_place_in_a_path() {
        assert!(is_object_name("shop-7d9f.x"));
        for bad in ["", ".", "..", "../x", "a/b", "a?b", "A", "a b", "a\0"] {
            assert!(!is_object_name(bad), "{bad:?}");
        }
    }
}
