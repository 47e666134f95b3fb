//! The one way to the API: a kube client over a function call or TLS, shared informers, work queues, events.
//!
//! It never knows the API server's or the store's code: in one process the transport is a tower service that the
//! binary hands in. Start reading at [`transport`], then [`informer`] and [`workqueue`].

pub mod controller;
pub mod corev1;
pub mod error;
pub mod informer;
pub mod labels;
pub mod quantity;
pub mod recorder;
pub mod transport;
pub mod workqueue;

pub use error::ApiError;
pub use informer::{Event, Informer, Informers, Lister};
pub use kube::{Client, api};
pub use recorder::{EventType, Recorder};
pub use transport::in_process;
pub use workqueue::WorkQueue;

use std::fmt;

use kube::{Resource, ResourceExt};

/// Namespace and name of an object; the namespace is empty for cluster-scoped kinds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The namespace, or "".
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectKey {
    /// A key from its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The key of an object.
    pub fn of<K: Resource>(object: &K) -> Self {
        Self::new(object.namespace().unwrap_or_default(), object.name_any())
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}
