use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::BoxStream;
use poem::web::Data;
use poem_openapi::OpenApi;
use poem_openapi::param::Query;
use poem_openapi::payload::EventStream;
use seatrial_operations::EventFilter;

use super::Tag;
use super::errors::ListError;
use super::runs::run_id;
use crate::config::Api;
use crate::guard::Caller;
use crate::wire::Event;

pub(crate) struct Events;

#[OpenApi(tag = "Tag::Events")]
impl Events {
    /// Follow what happens
    ///
    /// Server-sent events from now on: changes of runs and steps, and progress in words. They are
    /// hints; the journal is the record.
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
        let events = api.operations.events(&caller.0.0, EventFilter { run, key: key.0 });
        let until_stop = events.map(Event::from).take_until(api.stopping.clone().cancelled_owned());
        Ok(EventStream::new(until_stop.boxed()).keep_alive(Duration::from_secs(15)))
    }
}
