//! Times the life of containers on this machine: `cargo run --release -p cri --example lifecycle -- [N] [SECCOMP]` as root.
//!
//! The helper is found as `cri-shim` in the target directory, so build it first: `cargo build --release -p cri --bins`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use component_base::Scope;
use cri::images::build::{self, File, ImageSource};
use cri::images::{ImageDefaults, RegistryConfig};
use cri::{
    ContainerConfig, ImageStore, NamespaceMode, Resources, Runtime, RuntimeConfig, RuntimeService, SandboxConfig,
    SecurityContext, ShimCommand,
};

const STEPS: [&str; 6] = ["sandbox", "create", "start", "exec", "stop", "remove"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let count: usize = std::env::args().nth(1).map_or(Ok(21), |n| n.parse())?;
    let place = std::env::temp_dir().join(format!("kaji-bench-{}", std::process::id()));
    let scope = Scope::root();
    let images = ImageStore::open(&place, RegistryConfig::default(), scope.clone()).await?;
    let layer =
        vec![File::new("bin/busybox", 0o755, std::fs::read("/bin/busybox")?), File::symlink("bin/sleep", "busybox")];
    let source = ImageSource {
        references: vec!["bench:1".to_owned()],
        defaults: ImageDefaults { cmd: vec!["sleep".to_owned(), "1000".to_owned()], ..Default::default() },
        layers: vec![layer],
    };
    build::into_store(&images, source).await?;
    let shim = ShimCommand { program: shim()?, args: Vec::new() };
    let config = RuntimeConfig { data_dir: place.clone(), run_dir: place.join("run"), shim };
    let runtime = Runtime::open(config, images, scope).await?;

    let mut times: [Vec<Duration>; STEPS.len()] = Default::default();
    for n in 0..count {
        for (step, time) in life(&runtime, &place, n).await?.into_iter().enumerate() {
            times[step].push(time);
        }
    }
    println!("one after another, n={count}, median / 99th percentile in ms:");
    for (step, mut times) in STEPS.into_iter().zip(times) {
        times.sort();
        let at = |part: usize| times[(times.len() * part / 100).min(times.len() - 1)].as_secs_f64() * 1e3;
        println!("  {step:8} {:7.2} {:7.2}", at(50), at(99));
    }
    let begin = Instant::now();
    for result in futures::future::join_all((0..count).map(|n| life(&runtime, &place, n))).await {
        result?;
    }
    println!("all {count} at once: {:.2} s", begin.elapsed().as_secs_f64());
    runtime.cgroups().remove(&cgroup())?;
    std::fs::remove_dir_all(place)?;
    Ok(())
}

async fn life(runtime: &Runtime, place: &Path, n: usize) -> Result<Vec<Duration>, cri::Error> {
    let mut times = Vec::new();
    let mut begin = Instant::now();
    let mut lap = || times.push(std::mem::replace(&mut begin, Instant::now()).elapsed());
    let sandbox = SandboxConfig {
        name: format!("bench-{n}"),
        hostname: "bench".to_owned(),
        log_directory: place.join("logs"),
        cgroup_parent: format!("{}/{n}", cgroup()),
        pid: NamespaceMode::Container,
        ..Default::default()
    };
    let sandbox = runtime.run_pod_sandbox(sandbox).await?;
    lap();
    let container = ContainerConfig {
        name: "c".to_owned(),
        image: "bench:1".to_owned(),
        log_path: PathBuf::from(format!("{n}.log")),
        resources: Resources { memory_limit_bytes: 64 << 20, cpu_shares: 10, ..Default::default() },
        security: SecurityContext {
            seccomp_profile: std::env::args().nth(2).unwrap_or("RuntimeDefault".to_owned()),
            ..Default::default()
        },
        ..Default::default()
    };
    let id = runtime.create_container(&sandbox, container).await?;
    lap();
    runtime.start_container(&id).await?;
    lap();
    runtime.exec_sync(&id, &["sleep".to_owned(), "0".to_owned()], 10).await?;
    lap();
    runtime.stop_container(&id, 0).await?;
    lap();
    runtime.remove_pod_sandbox(&sandbox).await?;
    lap();
    Ok(times)
}

fn cgroup() -> String {
    format!("/kaji-bench-{}", std::process::id())
}

fn shim() -> std::io::Result<PathBuf> {
    let program = std::env::current_exe()?;
    let directory = program.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    Ok(directory.join("cri-shim"))
}
