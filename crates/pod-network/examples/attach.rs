//! Measures attach and detach in a network namespace of its own: `attach [pods]`.

use std::time::{Duration, Instant};

use netlink::netns;
use pod_network::Config;

fn main() -> std::io::Result<()> {
    let pods = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(50);
    let directory = std::env::temp_dir().join(format!("kaji-attach-{}", std::process::id()));
    let config = Config {
        pod_cidr: "10.244.0.0/22".parse().expect("a network"),
        cluster_cidr: "10.244.0.0/16".parse().expect("a network"),
        service_cidr: "10.96.0.0/16".parse().expect("a network"),
        bridge: "kaji0".into(),
        mtu: 1500,
        state_dir: directory.join("state"),
        run_dir: directory.join("netns"),
    };
    netns::run_in_new(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build()?;
        runtime.block_on(measure(config, pods)).map_err(std::io::Error::other)
    })?;
    std::fs::remove_dir_all(&directory)
}

async fn measure(config: Config, pods: usize) -> Result<(), pod_network::Error> {
    let network = config.build()?;
    let start = Instant::now();
    network.ensure_node().await?;
    println!("ensure node     {:?}", start.elapsed());
    let (mut create, mut attach, mut detach, mut delete) = (vec![], vec![], vec![], vec![]);
    for pod in 0..pods {
        let name = format!("pod-{pod}");
        let start = Instant::now();
        let path = network.create_netns(&name).await?;
        create.push(start.elapsed());
        let start = Instant::now();
        network.attach(&name, &path, &[]).await?;
        attach.push(start.elapsed());
    }
    for pod in 0..pods {
        let name = format!("pod-{pod}");
        let start = Instant::now();
        network.detach(&name).await?;
        detach.push(start.elapsed());
        let start = Instant::now();
        network.delete_netns(&name).await?;
        delete.push(start.elapsed());
    }
    for (what, times) in [("create netns", create), ("attach", attach), ("detach", detach), ("delete netns", delete)] {
        print(what, times);
    }
    Ok(())
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100];
    println!("{what:<15} p50 {:?}  p99 {:?}", at(50), at(99));
}
