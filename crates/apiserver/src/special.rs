//! Subresources and resources with a handler of their own: binding, eviction, and the streams to kubelets.

use std::sync::Arc;

use crate::handler::Handlers;

mod binding;
mod eviction;
mod proxy;
mod streams;

/// The handlers that every server has. Tokens and reviews are registered by whoever can judge them.
pub fn built_in() -> Handlers {
    let mut handlers = Handlers::default();
    handlers.register("", "pods", "binding", Arc::new(binding::PodBinding));
    handlers.register("", "bindings", "", Arc::new(binding::PodBinding));
    handlers.register("", "pods", "eviction", Arc::new(eviction::Eviction));
    for (name, stream) in [
        ("log", streams::PodStream::Log),
        ("exec", streams::PodStream::Exec),
        ("attach", streams::PodStream::Attach),
        ("portforward", streams::PodStream::PortForward),
    ] {
        handlers.register("", "pods", name, Arc::new(stream));
    }
    for (resource, proxy) in
        [("nodes", proxy::Proxy::Node), ("pods", proxy::Proxy::Pod), ("services", proxy::Proxy::Service)]
    {
        handlers.register("", resource, "proxy", Arc::new(proxy));
    }
    handlers
}
