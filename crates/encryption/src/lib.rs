//! Encryption at rest: what lies on the disk is not what lies in memory.
//!
//! ```text
//! registry > EncryptedStore: seal > engine > disk                 (sealed bytes)
//!                                    engine > Opening > Canonical  (plain bytes, what everybody reads)
//! ```
//!
//! Values are sealed on their way into the store, and opened once, by the hook that finishes them: reading and
//! watching cost nothing more. It never knows kinds: a key's group and resource say which keys apply. Start reading
//! at [`config`], then [`keyring`].

pub mod config;
mod envelope_metrics;
mod identity;
pub mod keyring;
pub mod metrics;
pub mod provider;
pub mod store;
mod watch;

pub mod grpc;
pub mod kms;

pub use config::{ConfigError, EncryptionConfiguration};
pub use keyring::Keyring;
pub use provider::SealError;
pub use store::{EncryptedStore, Opening};
pub use watch::UNREADABLE;
