//! The loop every controller shares: take a key, sync it, decide on a retry.

use std::fmt::Display;
use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use component_base::Scope;

use crate::WorkQueue;

/// What a sync asks for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requeue {
    /// Nothing: the next event wakes it.
    No,
    /// Once more after this long.
    After(Duration),
}

/// Runs `workers` tasks that take keys from `queue` and call `sync`.
///
/// An error puts the key back with back-off; success forgets its failures. The queue closes when the scope ends.
pub fn run_workers<T, F, Fut, E>(name: &'static str, scope: &Scope, queue: &WorkQueue<T>, workers: usize, sync: F)
where
    T: Clone + Eq + Hash + Display + Send + Sync + 'static,
    F: Fn(T) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Requeue, E>> + Send + 'static,
    E: Display + Send + 'static,
{
    let sync = Arc::new(sync);
    for _ in 0..workers {
        let (queue, sync) = (queue.clone(), sync.clone());
        scope.spawn(name, async move {
            while let Some(key) = queue.get().await {
                match sync(key.clone()).await {
                    Ok(requeue) => {
                        queue.forget(&key);
                        if let Requeue::After(delay) = requeue {
                            queue.add_after(key.clone(), delay);
                        }
                    }
                    Err(err) => {
                        tracing::debug!(controller = name, %key, error = %err, "sync failed; trying again");
                        queue.add_rate_limited(key.clone());
                    }
                }
                queue.done(&key);
            }
        });
    }
}
