//! Structured tasks: every task has a name, an owner and an end.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

/// Owns a group of tasks: they are cancelled together and awaited at shutdown.
///
/// A child scope ends with its parent; the parent waits for the child's tasks too.
#[derive(Clone, Debug)]
pub struct Scope {
    token: CancellationToken,
    tracker: TaskTracker,
}

impl Scope {
    /// A scope without a parent: the process makes one, and each test.
    pub fn root() -> Self {
        Self { token: CancellationToken::new(), tracker: TaskTracker::new() }
    }

    /// A scope that ends when this one does, or earlier through its own [`Scope::cancel`].
    pub fn child(&self) -> Self {
        Self { token: self.token.child_token(), tracker: self.tracker.clone() }
    }

    /// Runs `future` until it completes or the scope is cancelled, whichever is first.
    ///
    /// Cancellation drops the future at its next await point; a task that must clean up uses
    /// [`Scope::spawn_draining`].
    pub fn spawn<F>(&self, name: &'static str, future: F) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let token = self.token.clone();
        let span = tracing::debug_span!("task", name);
        self.tracker.spawn(
            async move {
                tokio::select! {
                    () = token.cancelled() => {}
                    () = future => {}
                }
            }
            .instrument(span),
        )
    }

    /// Runs `future` to its own end: it watches [`Scope::cancelled`] itself and cleans up.
    pub fn spawn_draining<F>(&self, name: &'static str, future: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(future.instrument(tracing::debug_span!("task", name)))
    }

    /// Runs blocking work (disk, system calls that wait) on the blocking pool.
    pub fn spawn_blocking<F, T>(&self, work: F) -> JoinHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.tracker.spawn_blocking(work)
    }

    /// Completes when the scope has been cancelled.
    pub fn cancelled(&self) -> WaitForCancellationFutureOwned {
        self.token.clone().cancelled_owned()
    }

    /// Whether the scope has been cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.token.is_cancelled()
    }

    /// The token itself, for libraries that take one.
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Asks every task of this scope and its children to end.
    pub fn cancel(&self) {
        self.token.cancel();
    }

    /// Cancels, then waits for every task. Returns false when some had not ended by `deadline`.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        self.cancel();
        self.tracker.close();
        tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_ends_with_its_parent() {
        let root = Scope::root();
        let child = root.child();
        let task = child.spawn("waits", std::future::pending());
        assert!(root.shutdown(Duration::from_secs(5)).await);
        assert!(child.is_cancelled());
        task.await.expect("the task was cancelled, not aborted");
    }

    #[tokio::test]
    async fn a_parent_outlives_its_child() {
        let root = Scope::root();
        root.child().cancel();
        assert!(!root.is_cancelled());
    }
}
