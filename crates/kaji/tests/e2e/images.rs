//! Images: archives, a real registry, and what happens when there is none.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use cri::images::build::File;
use tempfile::TempDir;
use testkit::{Cluster, Machine};

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

/// A small file system for as long as it lives.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn mount(size: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("kaji-test-disk-").tempdir().expect("a directory");
        let size = format!("size={size}");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "kaji-test"]).arg(directory.path()).status();
        assert!(mounted.expect("mount runs").success());
        Self(directory)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_told_and_nothing_else_suffers() {
    let (disk, machine) = (SmallDisk::mount("64m"), Machine::new(KAJI));
    std::os::unix::fs::symlink(disk.0.path(), machine.home()).expect("a link");
    let cluster = Cluster::create_on(machine, "full", &[]);
    let archive = kit::save(&cluster, "small.tar", vec![kit::busybox(&[BUSYBOX])]);
    kit::load(&cluster, &archive).ok();
    let mut large = kit::busybox(&["kaji.local/large:1"]);
    large.layers[0].push(File::new("large", 0o644, vec![0; 100 << 20]));
    let archive = kit::save(&cluster, "large.tar", vec![large]);
    kit::load(&cluster, &archive).fails_with("no space left on");
    let listed = cluster.machine.kaji(&["image", "list", "--name", cluster.name()]).ok();
    assert!(listed.contains(BUSYBOX) && !listed.contains("large"), "{listed}");
    // What was half unpacked is gone, so there is room for pods again.
    cluster.apply(&kit::pod("after", "sleep 1000"));
    cluster.wait("condition=Ready", &["pod/after"]);
}

/// Debian's docker-registry inside the node's network.
struct Registry {
    process: Child,
    address: &'static str,
    /// `http`, or `https` with a user `kaji` whose password is `secret`.
    scheme: &'static str,
    certificate: PathBuf,
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `secret`, as bcrypt hashes it.
const PASSWORDS: &str = "kaji:$2b$05$kajikajikajikajikajik.V4I3XQ2.YOz8Ew73KI4lwI6FO2PDg4e\n";

/// Writes a certificate for an address and its key; answers their paths.
fn certificate(machine: &Machine, address: &str) -> (String, String) {
    let host = address.split(':').next().unwrap_or_default().to_owned();
    let made = rcgen::generate_simple_self_signed(vec![host]).expect("a certificate");
    (machine.file("registry.crt", &made.cert.pem()), machine.file("registry.key", &made.signing_key.serialize_pem()))
}

impl Registry {
    fn start(machine: &Machine, address: &'static str, tls: Option<(&str, &str)>) -> Self {
        let dir = machine.dir().join("registry");
        std::fs::create_dir_all(&dir).expect("a directory");
        let mut config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\n",
            dir.display()
        );
        if let Some((certificate, key)) = tls {
            let passwords = machine.file("passwords", PASSWORDS);
            config += &format!("auth: {{htpasswd: {{realm: test, path: {passwords}}}}}\n");
            config += &format!("http: {{addr: '{address}', tls: {{certificate: {certificate}, key: {key}}}}}\n");
        } else {
            config += &format!("http: {{addr: '{address}'}}\n");
        }
        let config = machine.file("registry.yml", &config);
        let mut command: Command = machine.command("docker-registry", &["serve", &config]);
        let mut process =
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("apt-get install docker-registry");
        let stderr = process.stderr.take().expect("a pipe");
        let mut lines = BufReader::new(stderr).lines();
        let listening = lines.by_ref().map_while(Result::ok).any(|line| line.contains("listening on"));
        assert!(listening, "the registry listens");
        std::thread::spawn(move || lines.for_each(drop));
        let scheme = if tls.is_some() { "https" } else { "http" };
        Self { process, address, scheme, certificate: tls.map(|(path, _)| path.into()).unwrap_or_default() }
    }

    /// Pushes busybox by the registry's HTTP API, with curl as the client.
    fn push(&self, cluster: &Cluster, repository: &str, tag: &str) {
        let archive = kit::save(cluster, "push.tar", vec![kit::busybox(&[BUSYBOX])]);
        let url = format!("{}://{}/v2/{repository}", self.scheme, self.address);
        let options = match self.scheme {
            "https" => format!("-u kaji:secret --cacert {}", self.certificate.display()),
            _ => String::new(),
        };
        let script = format!(
            r#"mkdir -p push && cd push && tar xf {archive}
            ask() {{ curl -sf {options} "$@"; }}
            blob() {{
                digest=sha256:$(sha256sum "$1" | cut -d' ' -f1)
                where=$(ask -i -X POST {url}/blobs/uploads/ | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
                ask -X PUT -H 'Content-Type: application/octet-stream' --data-binary @"$1" "$where&digest=$digest" > /dev/null
                echo "{{\"mediaType\":\"$2\",\"size\":$(stat -c %s "$1"),\"digest\":\"$digest\"}}"
            }}
            config=$(python3 -c 'import json; print(json.load(open("manifest.json"))[0]["Config"])')
            layer=$(python3 -c 'import json; print(json.load(open("manifest.json"))[0]["Layers"][0])')
            c=$(blob "$config" application/vnd.oci.image.config.v1+json)
            l=$(blob "$layer" application/vnd.oci.image.layer.v1.tar)
            echo "{{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":$c,\"layers\":[$l]}}" > m.json
            ask -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary @m.json {url}/manifests/{tag}"#
        );
        cluster.shell(&script).ok();
    }
}

/// The first network is free on a machine of one's own, and this machine has its first address.
const REGISTRY: &str = "172.30.0.1:5000";

#[test]
fn images_are_pulled_from_a_registry() {
    let cluster = Cluster::create_with(KAJI, "pull", &["--insecure-registry", REGISTRY]);
    let registry = Registry::start(&cluster.machine, REGISTRY, None);
    registry.push(&cluster, "demo/busybox", "1.0");
    let reference = format!("{REGISTRY}/demo/busybox:1.0");
    cluster.machine.kaji(&["image", "pull", &reference, "--name", cluster.name()]).says(&reference);
    let pod = kit::pod("pulled", "sleep 1000").replace(BUSYBOX, &reference);
    cluster.apply(&pod);
    cluster.wait("condition=Ready", &["pod/pulled"]);
    assert!(cluster.value("pod/pulled", "{.status.containerStatuses[0].imageID}").contains("@sha256:"));
    cluster
        .machine
        .kaji(&["image", "pull", &format!("{REGISTRY}/demo/none:1"), "--name", cluster.name()])
        .fails_with("failed to pull");
}

#[test]
fn a_private_registry_wants_its_certificate_and_a_secret() {
    let machine = Machine::new(KAJI);
    let (certificate, key) = certificate(&machine, REGISTRY);
    let cluster = Cluster::create_on(machine, "private", &["--registry-ca", &certificate]);
    let registry = Registry::start(&cluster.machine, REGISTRY, Some((&certificate, &key)));
    registry.push(&cluster, "team/busybox", "1.0");
    let pod = kit::pod("private", "sleep 1000").replace(BUSYBOX, &format!("{REGISTRY}/team/busybox:1.0"));
    cluster.apply(&pod);
    cluster.wait("jsonpath={.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff", &["pod/private"]);
    cluster.kubectl(&["describe", "pod", "private"]).says("no basic auth credentials");
    cluster.kubectl(&["delete", "pod", "private"]).ok();
    let server = format!("--docker-server={REGISTRY}");
    let login = ["--docker-username=kaji", "--docker-password=secret", &server];
    cluster.kubectl(&[&["create", "secret", "docker-registry", "login"], &login[..]].concat()).ok();
    cluster.apply(&pod.replace("spec:\n", "spec:\n  imagePullSecrets: [{name: login}]\n"));
    cluster.wait("condition=Ready", &["pod/private"]);
}
