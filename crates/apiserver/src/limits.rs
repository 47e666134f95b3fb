//! How many requests are served at a time (upstream: apiserver/pkg/server/filters/maxinflight.go).
//!
//! What is over the limit is told to come again instead of waiting: a queue would only hide that it is too much.

use std::sync::Arc;

use apimachinery::UserInfo;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::flow::is_long_running;
use crate::request::RequestInfo;

/// When whoever finds no place may come again, in seconds.
const RETRY_AFTER_S: u64 = 1;

/// See the module.
#[derive(Clone, Debug)]
pub struct Limits {
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

impl Limits {
    /// So many reads and writes at a time.
    pub fn new(reads: usize, writes: usize) -> Self {
        Self { reads: Arc::new(Semaphore::new(reads)), writes: Arc::new(Semaphore::new(writes)) }
    }

    /// A place for the request while it is served, or when to come again; the server itself and administrators need
    /// none, and what lasts has none.
    pub fn admit(&self, user: &UserInfo, info: &RequestInfo) -> Result<Option<OwnedSemaphorePermit>, u64> {
        if is_long_running(info) || user.is_in("system:masters") {
            return Ok(None);
        }
        let places = if info.is_read_only() { &self.reads } else { &self.writes };
        places.clone().try_acquire_owned().map(Some).map_err(|_| RETRY_AFTER_S)
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
        assert_eq!(limits.admit(&user, &info("list")).expect_err("none left"), 1);
        limits.admit(&user, &info("create")).expect("writes have their own");
        limits.admit(&user, &info("watch")).expect("watches last");
        limits.admit(&UserInfo::new("root", ["system:masters"]), &info("get")).expect("needs none");
        drop(held);
        limits.admit(&user, &info("get")).expect("given back");
    }
}
