//! The streaming protocols of Kubernetes, server side: exec and attach (remotecommand) and port-forward, over SPDY/3.1
//! and over WebSocket, on connections that hyper upgraded.
//!
//! It never knows pods or containers: a caller hands in what to do with the streams. Nothing that a peer sends makes it
//! panic, and every buffer has a limit. Start reading at [`remotecommand`] and [`portforward`]; below them lie [`spdy`]
//! (frames, header compression, streams) and [`websocket`] (channels in messages).

pub mod portforward;
pub mod remotecommand;
pub mod spdy;
pub mod status;
pub mod upgrade;
pub mod websocket;

use std::io;

/// Why a session ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// The upgrade did not happen.
    #[error("the upgrade failed")]
    Upgrade(#[from] hyper::Error),
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Protocol(&'static str),
    /// The peer did not open the streams it announced.
    #[error("timed out waiting for the client to create the streams")]
    Streams,
}
