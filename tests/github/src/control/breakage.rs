//! Faults, as they are asked for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Which requests a fault hits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// Only this method.
    pub method: Option<String>,
    /// Only paths that begin with this.
    pub path_prefix: Option<String>,
    /// Only paths that contain this.
    pub path_contains: Option<String>,
}

/// What a fault does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Action {
    /// Answers this instead; nothing is done.
    Status {
        /// The status code.
        code: u16,
        /// The body; GitHub's form with a made-up message where it is empty.
        #[serde(default)]
        body: String,
        /// Further headers.
        #[serde(default)]
        headers: BTreeMap<String, String>,
    },
    /// Waits, then goes on as usual.
    Delay {
        /// How long.
        ms: u64,
    },
    /// Answers a list without its newest item, as if that were not there yet.
    StaleList,
    /// Does what was asked, then closes the connection without an answer.
    DropAnswer,
    /// Closes the connection and does nothing.
    DropBefore,
    /// The hourly limit is used up.
    RateLimitPrimary {
        /// It is reset in so many seconds.
        reset_seconds: i64,
    },
    /// The limit against too many requests at once.
    RateLimitSecondary {
        /// The value of `Retry-After`, in seconds.
        retry_after: u64,
    },
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which requests; all of them where it is not given.
    #[serde(default, rename = "match")]
    pub matching: Match,
    /// How many of them, once; the default is one.
    #[serde(default = "once")]
    pub times: u32,
    /// How many to let pass before.
    #[serde(default)]
    pub skip: u32,
    /// What happens.
    pub action: Action,
}

fn once() -> u32 {
    1
}

impl Fault {
    /// A fault that hits the next request.
    pub fn new(action: Action) -> Self {
        Self { matching: Match::default(), times: 1, skip: 0, action }
    }

    /// Only requests with this method whose path begins so.
    #[must_use]
    pub fn on(mut self, method: &str, path_prefix: &str) -> Self {
        self.matching.method = Some(method.to_owned());
        self.matching.path_prefix = Some(path_prefix.to_owned());
        self
    }

    /// Only requests whose path contains this.
    #[must_use]
    pub fn containing(mut self, part: &str) -> Self {
        self.matching.path_contains = Some(part.to_owned());
        self
    }

    /// So many requests.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Lets so many matching requests pass before.
    #[must_use]
    pub fn after(mut self, skip: u32) -> Self {
        self.skip = skip;
        self
    }
}
