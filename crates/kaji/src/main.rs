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
                if err.is::<server::CannotStart>() { cluster::init::CANNOT_START.into() } else { ExitCode::FAILURE }
            }
        },
    }
}

/// An error with its causes on one line, outermost first; a cause that the line ends with already is not repeated.
fn chain(err: &anyhow::Error) -> String {
    err.chain().map(ToString::to_string).fold(String::new(), |line, cause| match line {
        line if line.is_empty() => cause,
        line if line.ends_with(&cause) => line,
        line => format!("{line}: {cause}"),
    })
}
