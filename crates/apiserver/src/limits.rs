//! How many requests are served at a time (upstream: apiserver/pkg/server/filters/maxinflight.go).
//!
//! What is over the limit is told to come again instead of waiting: a queue would only hide that it is too much.

use std::sync::Arc;

use apimachinery::{StatusError, UserInfo};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::request::RequestInfo;

/// Upstream: `--max-requests-inflight`.
const READS: usize = 400;
/// Upstream: `--max-mutating-requests-inflight`.
const WRITES: usize = 200;

/// Subresources whose requests last as long as their clients like (upstream: `BasicLongRunningRequestCheck`).
const LONG_RUNNING: [&str; 5] = ["attach", "exec", "log", "portforward", "proxy"];

/// See the module.
#[derive(Clone, Debug)]
pub struct Limits {
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

impl Default for Limits {
    fn default() -> Self {
        Self::new(READS, WRITES)
    }
}

impl Limits {
    /// So many reads and writes at a time.
    pub fn new(reads: usize, writes: usize) -> Self {
        Self { reads: Arc::new(Semaphore::new(reads)), writes: Arc::new(Semaphore::new(writes)) }
    }

    /// A place for the request while it is served; the server itself and administrators need none.
    pub fn admit(&self, user: &UserInfo, info: &RequestInfo) -> Result<Option<OwnedSemaphorePermit>, StatusError> {
        let lasting = info.verb == "watch" || LONG_RUNNING.contains(&info.subresource.as_str());
        if lasting || user.is_in("system:masters") {
            return Ok(None);
        }
        let places = if info.is_read_only() { &self.reads } else { &self.writes };
        let refused = |_| StatusError::too_many_requests("Too many requests, please try again later.", 1);
        places.clone().try_acquire_owned().map(Some).map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_given_back() {
        let limits = Limits::new(1, 1);
        let user = UserInfo::new("u", ["g"]);
        let info = |verb: &str| RequestInfo { verb: verb.into(), ..RequestInfo::default() };
        let held = limits.admit(&user, &info("get")).expect("a place");
        assert_eq!(limits.admit(&user, &info("list")).expect_err("none left").code, 429);
        limits.admit(&user, &info("create")).expect("writes have their own");
        limits.admit(&user, &info("watch")).expect("watches last");
        limits.admit(&UserInfo::new("root", ["system:masters"]), &info("get")).expect("needs none");
        drop(held);
        limits.admit(&user, &info("get")).expect("given back");
    }
}
