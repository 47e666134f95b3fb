//! The helper of one pod: it holds the pod's processes and outlives the server.

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs the helper; `args` are those after the subcommand's name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let _ = args.into_iter();
    ExitCode::FAILURE
}
