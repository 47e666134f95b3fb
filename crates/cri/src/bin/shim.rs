//! The helper of one pod as a program of its own, for tests and benchmarks; the product runs it as `kaji shim`.

use std::process::ExitCode;

fn main() -> ExitCode {
    cri::shim::main(std::env::args_os().skip(1))
}
