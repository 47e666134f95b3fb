//! Flags of `kaji server` about how the API is served; their names and defaults are kube-apiserver's.

use std::time::Duration;

use apimachinery::duration::GoDuration;
use clap::{ArgAction, Args};

/// How the API is served.
#[derive(Args, Clone, Debug)]
pub struct ServingArgs {
    /// How many reads are served at a time
    #[arg(long, default_value_t = 400)]
    pub max_requests_inflight: usize,
    /// How many writes are served at a time
    #[arg(long, default_value_t = 200)]
    pub max_mutating_requests_inflight: usize,
    /// Divide both together by FlowSchemas and PriorityLevelConfigurations
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub enable_priority_and_fairness: bool,
    /// How long a request may take
    #[arg(long, default_value = "1m0s", value_parser = duration)]
    pub request_timeout: Duration,
    /// How long requests are still taken after the server was told to stop and says that it is not ready
    #[arg(long, default_value = "0s", value_parser = duration)]
    pub shutdown_delay_duration: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration: GoDuration = text.parse().map_err(|error| format!("{error}"))?;
    duration.to_std().ok_or_else(|| "it must not be negative".into())
}
