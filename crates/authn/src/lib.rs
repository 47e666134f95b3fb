//! Who asks, where the answer is not in the store: identity providers (OIDC), webhooks, token files and front proxies.
//!
//! It never knows the API server: a token or headers go in, a [`UserInfo`](apimachinery::UserInfo) comes out. Start
//! reading at [`config`], what an `AuthenticationConfiguration` says, then [`oidc`].

pub mod token;

pub mod config;
pub mod expression;

pub mod jose;
pub mod oidc;

pub mod request_header;
pub mod token_file;
pub mod token_webhook;

pub use token::{BoxError, Known, TokenAuthenticator};
