//! What each command does, on a runtime of its own size: one thread for a client, one a core for the server.

mod check;
mod cluster;
mod image;
mod progress;

use std::future::Future;

use anyhow::Context;
use component_base::Scope;

use crate::cli::Command;
use crate::server;

/// Runs a command to its end.
pub fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Cluster(command) => client(cluster::run(command)),
        Command::Image(command) => client(image::run(command)),
        Command::Check => check::run(),
        Command::Server(args) => serve(*args),
        // `main` has taken these before.
        Command::NodeInit { .. } | Command::Shim { .. } => Ok(()),
    }
}

fn client(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    log("warn");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(work)
}

fn serve(args: crate::cli::ServerArgs) -> anyhow::Result<()> {
    log("info,kube_client=warn,kube_runtime=warn");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(64)
        .thread_keep_alive(std::time::Duration::from_secs(5))
        .build()
        .context("start the runtime")?;
    runtime.block_on(async {
        let scope = Scope::root();
        server::run(args, &scope).await
    })
}

/// Logs to standard error: what `$KAJI_LOG` says, else `default`.
fn log(default: &str) {
    let filter = std::env::var("KAJI_LOG").unwrap_or_else(|_| default.to_owned());
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
}
