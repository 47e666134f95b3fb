//! SPDY/3.1 as Kubernetes speaks it (upstream: moby/spdystream): client-initiated streams with headers, data both
//! ways, half close, ping, goaway. As upstream there is no flow control by windows: a slow reader of one stream holds
//! the connection, so memory stays bounded by the buffers of the streams.

pub mod connection;
pub mod dictionary;
pub mod frame;
pub mod headers;

pub use connection::{Incoming, Stream, accept};
