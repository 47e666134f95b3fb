//! Kaji: Kubernetes in one binary. This crate only wires: it reads the command line, builds the parts and runs them.
//!
//! Two commands are helpers of a node and must stay single-threaded, so they run before anything else is set up:
//! `node-init` ([`cluster::init`]) and `shim` ([`cri::shim`]). Start reading at [`cli`], then [`server`].

mod cli;
mod commands;
mod hello;
mod server;

use std::process::ExitCode;

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::Cli::parse().command {
        cli::Command::NodeInit { spec, listener_fd } => cluster::init::main(&spec, listener_fd),
        cli::Command::Shim { args } => cri::shim::main(args),
        command => match commands::run(command) {
            Ok(()) => ExitCode::SUCCESS,
            Err(err) => {
                eprintln!("Error: {}", chain(&err));
                ExitCode::FAILURE
            }
        },
    }
}

/// An error with its causes on one line, outermost first.
fn chain(err: &anyhow::Error) -> String {
    let causes: Vec<String> = err.chain().map(ToString::to_string).collect();
    causes.join(": ")
}
