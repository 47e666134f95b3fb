//! Measures the engine: `cargo run --release -p store --example throughput [DIR] [WRITES] [WRITERS] [BYTES] [kill]`.
//!
//! With 0 writes it only opens the database of an earlier run, so that memory is measured in a fresh process. With
//! `kill` it ends without closing, so that the next opening finds what a crash leaves.

#![expect(clippy::disallowed_methods, reason = "a measurement ends with its process")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use component_base::Scope;
use store::suite::Echo;
use store::{Embedded, Expect, Options, RangeRequest, Store, Write};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().unwrap_or_else(|| "bench-store".into()));
    let writes: u64 = args.next().map_or(Ok(100_000), |number| number.parse())?;
    let writers: u64 = args.next().map_or(Ok(64), |number| number.parse())?;

    let bytes: usize = args.next().map_or(Ok(1024), |number| number.parse())?;
    let kill = args.next().is_some_and(|word| word == "kill");

    let (scope, store) = timed_open("open", &dir)?;
    if writes == 0 {
        scope.shutdown(Duration::from_secs(60)).await;
        return Ok(());
    }
    for writers in [1, writers] {
        let (writes, prefix) = if writers == 1 { (2000, "/single/") } else { (writes, "/registry/core/pods/") };
        let (took, cpu) = (Instant::now(), cpu_ms());
        let mut latencies = write_all(&store, prefix, writes, writers, bytes).await;
        let (took, cpu) = (took.elapsed(), cpu_ms() - cpu);
        latencies.sort_unstable();
        let at = |percent: usize| latencies[(latencies.len() - 1) * percent / 100];
        println!(
            "{writers} writers: {writes} puts of {bytes} bytes in {took:.2?}: {:.0}/s, CPU {:.1} µs each, p50 {:?}, \
             p99 {:?}, resident {} MB",
            writes as f64 / took.as_secs_f64(),
            cpu as f64 * 1000.0 / writes as f64,
            at(50),
            at(99),
            resident_mb()
        );
    }
    if kill {
        std::process::abort();
    }
    let took = Instant::now();
    let range = store.range(&RangeRequest { prefix: "/registry/".into(), ..Default::default() }).await?;
    println!("range of {}: {:?}", range.entries.len(), took.elapsed());
    drop(range);
    let took = Instant::now();
    scope.shutdown(Duration::from_secs(60)).await;
    println!("close: {:?}, file {} MB", took.elapsed(), file_mb(&dir));
    Ok(())
}

fn timed_open(what: &str, dir: &Path) -> Result<(Scope, Arc<Embedded>), store::Error> {
    let (scope, took) = (Scope::root(), Instant::now());
    let store = Embedded::open(dir, Options::new(Arc::new(Echo)), &scope)?;
    println!("{what}: {:?}, resident {} MB", took.elapsed(), resident_mb());
    Ok((scope, store))
}

async fn write_all(
    store: &Arc<Embedded>,
    prefix: &'static str,
    writes: u64,
    writers: u64,
    bytes: usize,
) -> Vec<Duration> {
    let next = Arc::new(AtomicU64::new(0));
    let value = Bytes::from((0..bytes).map(|at| (at * 31 % 251) as u8).collect::<Vec<_>>());
    let tasks: Vec<_> = (0..writers)
        .map(|_| {
            let (store, next, value) = (store.clone(), next.clone(), value.clone());
            tokio::spawn(async move {
                let mut latencies = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= writes {
                        return latencies;
                    }
                    let key = format!("{prefix}default/pod-{:08x}", number.wrapping_mul(2_654_435_761) as u32);
                    let write = Write { key, expect: Expect::Absent, value: Some(Bytes::copy_from_slice(&value)) };
                    let took = Instant::now();
                    store.write(write).await.expect("the disk works");
                    latencies.push(took.elapsed());
                }
            })
        })
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await.expect("no writer panics"));
    }
    latencies
}

/// The CPU time of this process, kernel's work for it included.
fn cpu_ms() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // utime and stime, in ticks of 10 ms.
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>() * 10
}

fn resident_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or_default() / 1024
}

fn file_mb(dir: &Path) -> u64 {
    std::fs::metadata(dir.join("store.redb")).map_or(0, |file| file.len()) >> 20
}
