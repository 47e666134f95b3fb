//! Images: archives, a real registry, and what happens when there is none.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use testkit::Cluster;

use crate::kit::{self, BUSYBOX, KAJI};

#[test]
fn archives_with_several_images_are_loaded() {
    let cluster = kit::cluster("load");
    let images = vec![kit::busybox(&["kaji.local/a:1", "kaji.local/a:latest"]), kit::busybox(&["kaji.local/b:2"])];
    let archive = kit::save(&cluster, "images.tar", images);
    kit::load(&cluster, &archive).says("kaji.local/a:1");
    let listed = cluster.machine.kaji(&["image", "list", "--name", cluster.name()]).ok();
    for reference in ["kaji.local/a:1", "kaji.local/b:2", "kaji.local/hello-server:1.0"] {
        assert!(listed.contains(reference), "{reference} is missing in\n{listed}");
    }
    cluster.machine.kaji(&["image", "remove", "kaji.local/b:2", "--name", cluster.name()]).ok();
    let listed = cluster.machine.kaji(&["image", "list", "--name", cluster.name()]).ok();
    assert!(!listed.contains("kaji.local/b:2"), "{listed}");
}

#[test]
fn a_damaged_archive_is_refused_and_changes_nothing() {
    let cluster = kit::cluster("damaged");
    let before = cluster.machine.kaji(&["image", "list", "--name", cluster.name()]).ok();
    let archive = kit::save(&cluster, "images.tar", vec![kit::busybox(&[BUSYBOX])]);
    let bytes = std::fs::read(&archive).expect("the archive");
    std::fs::write(&archive, &bytes[..bytes.len() / 2]).expect("cut short");
    kit::load(&cluster, &archive).fails_with("image archive");
    let text = cluster.machine.file("text.tar", "no archive at all\n");
    kit::load(&cluster, &text).fails_with("image archive");
    assert_eq!(cluster.machine.kaji(&["image", "list", "--name", cluster.name()]).ok(), before);
}

#[test]
fn a_missing_image_backs_off_with_a_reason() {
    let cluster = kit::cluster("missing");
    let pod = kit::pod("lacks", "true").replace(BUSYBOX, "registry.invalid/none:1");
    cluster.apply(&pod);
    cluster.wait("jsonpath={.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff", &["pod/lacks"]);
    cluster.kubectl(&["get", "pods"]).says("lacks");
    cluster.kubectl(&["describe", "pod", "lacks"]).says("Failed to pull image \"registry.invalid/none:1\"");
}

/// Debian's docker-registry inside the node's network.
struct Registry(Child);

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn registry(cluster: &Cluster, address: &str) -> Registry {
    let dir = cluster.machine.dir().join("registry");
    std::fs::create_dir_all(&dir).expect("a directory");
    let config = format!(
        "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{address}'}}\n",
        dir.display()
    );
    let config = cluster.machine.file("registry.yml", &config);
    let mut command: Command = cluster.machine.command("docker-registry", &["serve", &config]);
    let mut child =
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("apt-get install docker-registry");
    let stderr = child.stderr.take().expect("a pipe");
    let mut lines = BufReader::new(stderr).lines();
    let listening = lines.by_ref().map_while(Result::ok).any(|line| line.contains("listening on"));
    assert!(listening, "the registry listens");
    std::thread::spawn(move || lines.for_each(drop));
    Registry(child)
}

#[test]
fn images_are_pulled_from_a_registry() {
    // The first network is free on a machine of one's own, and this machine has its first address.
    let address = "172.30.0.1:5000";
    let cluster = Cluster::create_with(KAJI, "pull", &["--insecure-registry", address]);
    let _registry = registry(&cluster, address);
    push(&cluster, address, "demo/busybox", "1.0");
    let reference = format!("{address}/demo/busybox:1.0");
    cluster.machine.kaji(&["image", "pull", &reference, "--name", cluster.name()]).says(&reference);
    let pod = kit::pod("pulled", "sleep 1000").replace(BUSYBOX, &reference);
    cluster.apply(&pod);
    cluster.wait("condition=Ready", &["pod/pulled"]);
    assert!(cluster.value("pod/pulled", "{.status.containerStatuses[0].imageID}").contains("@sha256:"));
    cluster
        .machine
        .kaji(&["image", "pull", &format!("{address}/demo/none:1"), "--name", cluster.name()])
        .fails_with("failed to pull");
}

/// Pushes busybox by the registry's HTTP API, with curl as the client.
fn push(cluster: &Cluster, address: &str, repository: &str, tag: &str) {
    let archive = kit::save(cluster, "push.tar", vec![kit::busybox(&[BUSYBOX])]);
    let script = format!(
        r#"mkdir -p push && cd push && tar xf {archive}
        blob() {{
            digest=sha256:$(sha256sum "$1" | cut -d' ' -f1)
            where=$(curl -sfi -X POST http://{address}/v2/{repository}/blobs/uploads/ | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
            curl -sf -X PUT -H 'Content-Type: application/octet-stream' --data-binary @"$1" "$where&digest=$digest" > /dev/null
            echo "{{\"mediaType\":\"$2\",\"size\":$(stat -c %s "$1"),\"digest\":\"$digest\"}}"
        }}
        config=$(python3 -c 'import json; print(json.load(open("manifest.json"))[0]["Config"])')
        layer=$(python3 -c 'import json; print(json.load(open("manifest.json"))[0]["Layers"][0])')
        c=$(blob "$config" application/vnd.oci.image.config.v1+json)
        l=$(blob "$layer" application/vnd.oci.image.layer.v1.tar)
        echo "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":$c,\"layers\":[$l]}}" > m.json
        curl -sf -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @m.json http://{address}/v2/{repository}/manifests/{tag}"#
    );
    cluster.shell(&script).ok();
}
