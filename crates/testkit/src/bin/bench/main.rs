//! `make bench`: the figures of BENCHMARKS.md, measured on this machine and printed as tables.
//!
//! It runs on a machine of its own (a network namespace without a way out). Every figure is a median with its spread;
//! CPU and memory are those of Kaji's processes alone. `bench KAJI cluster` and `bench KAJI api` print one table.

#![expect(clippy::disallowed_methods, reason = "a measurement ends with its process")]

mod api;
mod cluster;
mod connection;
mod figures;
mod process;

use std::fs;

use testkit::Machine;

fn main() {
    let mut args = std::env::args().skip(1);
    let kaji = args.next().unwrap_or_else(|| "target/release/kaji".into());
    let kaji = fs::canonicalize(&kaji).unwrap_or_else(|err| panic!("{kaji}: {err}; run 'make build' first"));
    let part = args.next();
    let wanted = |name: &str| part.as_deref().is_none_or(|part| part == name);
    let machine = Machine::new(&kaji);
    machine.inside(|| {
        // Its threads are made by this one, which is inside.
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        if wanted("cluster") {
            println!("\n| a cluster | median | spread |\n|---|---|---|");
            runtime.block_on(cluster::measure(&machine, &kaji));
        }
        if wanted("api") {
            runtime.block_on(api::measure(&machine, &kaji));
        }
    });
}
