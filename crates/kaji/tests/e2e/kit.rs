//! What the tests share: a cluster of the binary under test, images made from Debian's busybox, manifests.

use std::path::PathBuf;

use cri::images::ImageDefaults;
use cri::images::build::{self, Content, File, ImageSource};
use testkit::Cluster;

/// The binary under test.
pub const KAJI: &str = env!("CARGO_BIN_EXE_kaji");
/// The beginners' example.
pub const HELLO: &str = include_str!("../../../../examples/hello-server.yaml");
/// An image with a shell.
pub const BUSYBOX: &str = "kaji.local/busybox:1.0";

/// A cluster with nothing in it.
#[track_caller]
pub fn cluster(test: &str) -> Cluster {
    Cluster::create(KAJI, test)
}

/// A cluster whose node has [`BUSYBOX`].
#[track_caller]
pub fn cluster_with_busybox(test: &str) -> Cluster {
    let cluster = cluster(test);
    let archive = save(&cluster, "busybox.tar", vec![busybox(&[BUSYBOX])]);
    load(&cluster, &archive).ok();
    cluster
}

/// A cluster in which the example is applied and rolled out.
#[track_caller]
pub fn cluster_with_hello(test: &str) -> Cluster {
    let cluster = cluster(test);
    cluster.apply(HELLO);
    cluster.rolled_out("deployment/hello-server");
    cluster
}

/// The example's program under another version's name.
pub fn hello(reference: &str) -> ImageSource {
    let program = include_bytes!(concat!(env!("OUT_DIR"), "/hello-server"));
    ImageSource {
        references: vec![reference.into()],
        defaults: ImageDefaults {
            entrypoint: vec!["/hello-server".into()],
            user: "65532:65532".into(),
            ..ImageDefaults::default()
        },
        layers: vec![vec![File::new("hello-server", 0o755, program)]],
    }
}

/// An image of Debian's static busybox with a link for each of its programs the tests use.
pub fn busybox(references: &[&str]) -> ImageSource {
    let program = std::fs::read("/bin/busybox").expect("apt-get install busybox-static");
    let mut files = vec![File::new("bin/busybox", 0o755, program)];
    for applet in [
        "sh", "cat", "echo", "env", "hostname", "id", "ls", "nc", "nslookup", "ps", "sleep", "tar", "touch", "true",
        "false", "wget", "kill", "rm", "mkdir", "test", "wc", "stty", "seq", "httpd",
    ] {
        files.push(File::symlink(format!("bin/{applet}"), "busybox"));
    }
    files.push(File { path: "tmp".into(), mode: 0o1777, content: Content::Directory });
    ImageSource {
        references: references.iter().map(ToString::to_string).collect(),
        defaults: ImageDefaults { cmd: vec!["sh".into()], env: vec!["PATH=/bin".into()], ..ImageDefaults::default() },
        layers: vec![files],
    }
}

/// Writes a `docker save` archive and answers its path.
pub fn save(cluster: &Cluster, name: &str, images: Vec<ImageSource>) -> String {
    let path: PathBuf = cluster.machine.dir().join(name);
    build::save_archive(&path, &images).expect("the archive is written");
    path.display().to_string()
}

/// Puts an archive into the node's store.
pub fn load(cluster: &Cluster, archive: &str) -> testkit::Run {
    cluster.machine.kaji(&["cluster", "load-image", archive, "--name", cluster.name()])
}

/// A pod that runs a shell script in busybox.
pub fn pod(name: &str, script: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  labels: {{app: {name}}}\nspec:\n  terminationGracePeriodSeconds: 1\n  containers:\n  - name: main\n    image: {BUSYBOX}\n    command: [sh, -c, {}]\n",
        serde_json::Value::from(script)
    )
}
