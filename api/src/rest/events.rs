use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::Query;
use poem_openapi::payload::EventStream;
use seatrial_operations::EventFilter;
use tokio_util::sync::CancellationToken;

use super::Tag;
use super::errors::ListError;
use super::runs::run_id;
use crate::config::Api;
use crate::guard::Caller;
use crate::wire::Event;

pub(crate) struct Events;

/// Clients of server-sent events come back by themselves.
pub(super) const STREAM_LIFETIME: Duration = Duration::from_secs(3_600);

/// Ends when the server stops, or the time is over.
pub(super) fn until(stopping: &CancellationToken, lifetime: Duration) -> impl Future<Output = ()> + Send + 'static {
    let stopping = stopping.clone();
    async move {
        let _ = tokio::time::timeout(lifetime, stopping.cancelled_owned()).await;
    }
}

#[OpenApi(tag = "Tag::Events")]
impl Events {
    /// Follow what happens
    ///
    /// Server-sent events from now on: changes of runs and steps, and progress in words. They are
    /// hints; the journal is the record. A stream ends after an hour; clients open another.
    #[oai(path = "/events", method = "get", operation_id = "followEvents")]
    async fn follow(
        &self,
        api: Data<&Arc<Api>>,
        caller: Data<&Caller>,
        /// Only those of this run.
        run: Query<Option<String>>,
        /// Only those of runs with this concurrency key, `owner/name#number`.
        key: Query<Option<String>>,
    ) -> Result<EventStream<BoxStream<'static, Event>>, ListError> {
        let run = run.0.map(|run| run_id(&run)).transpose()?;
        let place = api.limits.open_stream(caller.0.0.id())?;
        let events = api.operations.events(&caller.0.0, EventFilter { run, key: key.0 });
        // What a caller may hear is looked at again when they come back.
        let end = until(&api.stopping, STREAM_LIFETIME);
        let events = events.map(move |event| {
            let _open = &place;
            Event::from(event)
        });
        Ok(EventStream::new(events.take_until(end).boxed()).keep_alive(Duration::from_secs(15)))
    }
}
