//! Identity providers and token webhooks, asked over real connections.

mod oidc;
mod webhook;
