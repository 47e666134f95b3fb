//! A node of its own for each test: a store, a runtime, control groups; and the proof that nothing is left of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use component_base::Scope;
use cri::images::build::{self, Content, File, ImageSource};
use cri::images::{ImageDefaults, RegistryConfig};
use cri::{
    ContainerConfig, ContainerState, ContainerStatus, ImageStore, Runtime, RuntimeConfig, RuntimeService,
    SandboxConfig, ShimCommand,
};

pub const BUSYBOX: &str = "kaji.test/busybox:1.0";
const PATIENCE: Duration = Duration::from_secs(30);
const APPLETS: &[&str] = &[
    "sh", "ls", "cat", "echo", "sleep", "true", "false", "id", "env", "hostname", "mount", "mkdir", "touch", "ps",
    "dd", "tty", "stty", "readlink", "stat", "wc", "head", "tail", "kill", "chmod", "mknod", "unshare", "test", "rm",
    "df", "ipcs", "yes", "grep", "seq", "pwd", "dmesg", "cut", "tr", "sort", "chroot", "sync", "printf", "date",
    "usleep",
];

/// Files of a small userland around Debian's static busybox.
pub fn busybox_layer() -> Vec<File> {
    let busybox = fs::read("/bin/busybox").expect("/bin/busybox is missing: apt-get install busybox-static");
    let mut files = vec![
        File::new("bin/busybox", 0o755, busybox),
        File::new("etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000:Web:/srv:/bin/sh\n"),
        File::new("etc/group", 0o644, "root:x:0:\nweb:x:1000:\nstaff:x:50:web\n"),
        File { path: "tmp".to_owned(), mode: 0o1777, content: Content::Directory },
        File { path: "root".to_owned(), mode: 0o700, content: Content::Directory },
        File { path: "srv".to_owned(), mode: 0o755, content: Content::Directory },
    ];
    files.extend(APPLETS.iter().map(|applet| File::symlink(format!("bin/{applet}"), "busybox")));
    files
}

pub fn busybox_image() -> ImageSource {
    let defaults = ImageDefaults {
        cmd: vec!["sh".to_owned()],
        env: vec!["PATH=/bin".to_owned(), "FROM_IMAGE=yes".to_owned()],
        ..Default::default()
    };
    ImageSource { references: vec![BUSYBOX.to_owned()], defaults, layers: vec![busybox_layer()] }
}

/// A machine's worth of runtime below one directory.
pub struct Node {
    pub directory: tempfile::TempDir,
    pub images: ImageStore,
    pub runtime: Runtime,
    pub cgroup: String,
    scope: Scope,
}

impl Node {
    /// A node with the busybox image.
    pub async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let directory = tempfile::Builder::new().prefix("kaji-cri-").tempdir().expect("a directory");
        let cgroup = format!("/kaji-test-{}/{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let scope = Scope::root();
        let images = open_store(directory.path(), &scope).await;
        build::into_store(&images, busybox_image()).await.expect("the busybox image");
        let runtime = open_runtime(directory.path(), &images, &scope).await;
        Self { directory, images, runtime, cgroup, scope }
    }

    /// The server's tasks end; the runtime's handles know nothing new from here on.
    pub async fn stop_server(&mut self) {
        assert!(self.scope.shutdown(PATIENCE).await, "tasks went on");
    }

    /// Another server takes the place of one that was stopped.
    pub async fn restart(&mut self) {
        self.scope = Scope::root();
        self.images = open_store(self.directory.path(), &self.scope).await;
        self.runtime = open_runtime(self.directory.path(), &self.images, &self.scope).await;
    }

    pub fn logs(&self) -> PathBuf {
        self.directory.path().join("logs")
    }

    pub fn sandbox_config(&self, name: &str) -> SandboxConfig {
        SandboxConfig {
            name: name.to_owned(),
            namespace: "default".to_owned(),
            uid: format!("uid-{name}"),
            hostname: name.to_owned(),
            log_directory: self.logs().join(name),
            cgroup_parent: format!("{}/pod{name}", self.cgroup),
            pid: cri::NamespaceMode::Container,
            ..Default::default()
        }
    }

    pub async fn sandbox(&self, name: &str) -> String {
        self.runtime.run_pod_sandbox(self.sandbox_config(name)).await.expect("a sandbox")
    }

    /// Creates and starts.
    pub async fn run(&self, sandbox: &str, config: ContainerConfig) -> String {
        let id = self.runtime.create_container(sandbox, config).await.expect("a container");
        self.runtime.start_container(&id).await.expect("it starts");
        id
    }

    /// Runs a shell script to its end in a sandbox of its own: status and output.
    pub async fn script(&self, name: &str, change: impl FnOnce(&mut ContainerConfig)) -> (ContainerStatus, String) {
        let sandbox = self.sandbox(name).await;
        let mut config = shell(name, "true");
        change(&mut config);
        let id = self.run(&sandbox, config).await;
        let status = self.ended(&id).await;
        let output = output(&status.log_path);
        self.runtime.remove_pod_sandbox(&sandbox).await.expect("it goes");
        (status, output)
    }

    /// Waits for the end of a container, as its events tell it.
    pub async fn ended(&self, id: &str) -> ContainerStatus {
        self.until(id, |state| matches!(state, ContainerState::Exited { .. })).await
    }

    pub async fn until(&self, id: &str, wanted: impl Fn(&ContainerState) -> bool) -> ContainerStatus {
        let mut events = self.runtime.events();
        let wait = async {
            loop {
                let status = self.runtime.container_status(id).await.expect("it is known");
                if wanted(&status.state) {
                    return status;
                }
                events.recv().await.expect("the runtime is there");
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("nothing happened")
    }

    /// Runs a program in a container; its output.
    pub async fn exec(&self, id: &str, script: &str) -> (i32, String) {
        let command = ["sh", "-c", script].map(str::to_owned);
        let (code, out, err) = self.runtime.exec_sync(id, &command, 30).await.expect("it runs");
        (code, String::from_utf8_lossy(&[out, err].concat()).into_owned())
    }

    /// Removes everything and proves it.
    pub async fn close(self) {
        for sandbox in self.runtime.list_pod_sandboxes().await.expect("a list") {
            self.runtime.remove_pod_sandbox(&sandbox.id).await.expect("it goes");
        }
        assert!(self.runtime.list_containers().await.expect("a list").is_empty());
        let cgroups = self.runtime.cgroups();
        cgroups.remove(&self.cgroup).expect("the test's control group goes");
        // The tests of a process share this one; it goes with the last.
        for (_, dir) in cgroups.directories(&format!("/kaji-test-{}", std::process::id())) {
            let _ = fs::remove_dir(dir);
        }
        let place = self.directory.path().to_string_lossy().into_owned();
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("the mounts");
        let left: Vec<&str> = mounts.lines().filter(|line| line.contains(&place)).collect();
        assert!(left.is_empty(), "mounts are left: {left:?}");
        let processes = pids_of(&place);
        assert!(processes.is_empty(), "processes are left: {processes:?}");
        let containers = self.directory.path().join("data/containers");
        assert_eq!(fs::read_dir(containers).expect("the data").count(), 0, "writable layers are left");
        assert_eq!(fs::read_dir(self.directory.path().join("run")).expect("the state").count(), 0, "state is left");
        assert!(self.scope.shutdown(PATIENCE).await, "tasks went on");
    }
}

/// A test that failed has not closed its node: what it made goes all the same.
impl Drop for Node {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let place = self.directory.path().to_string_lossy().into_owned();
        for pid in pids_of(&place) {
            // SAFETY: a plain call on a process of this test.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        }
        let _ = self.runtime.cgroups().remove(&self.cgroup);
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let points = mounts.lines().filter_map(|line| line.split(' ').nth(4)).filter(|point| point.starts_with(&place));
        for point in points.collect::<Vec<_>>().into_iter().rev() {
            let point = std::ffi::CString::new(point).unwrap_or_default();
            // SAFETY: a plain call on a mount of this test.
            unsafe { libc::umount2(point.as_ptr(), libc::MNT_DETACH) };
        }
    }
}

pub async fn open_store(directory: &Path, scope: &Scope) -> ImageStore {
    let store = ImageStore::open(&directory.join("data"), RegistryConfig::default(), scope.clone()).await;
    store.expect("a store")
}

async fn open_runtime(directory: &Path, images: &ImageStore, scope: &Scope) -> Runtime {
    let config = RuntimeConfig {
        data_dir: directory.join("data"),
        run_dir: directory.join("run"),
        shim: ShimCommand { program: PathBuf::from(env!("CARGO_BIN_EXE_cri-shim")), args: Vec::new() },
    };
    Runtime::open(config, images.clone(), scope.clone()).await.expect("a runtime")
}

/// Processes whose arguments name this place.
pub fn pids_of(place: &str) -> Vec<i32> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|args| args.contains(place)))
        .collect()
}

/// A container that runs a shell script.
pub fn shell(name: &str, script: &str) -> ContainerConfig {
    ContainerConfig {
        name: name.to_owned(),
        image: BUSYBOX.to_owned(),
        command: vec!["sh".to_owned(), "-c".to_owned(), script.to_owned()],
        log_path: PathBuf::from(format!("{name}/0.log")),
        ..Default::default()
    }
}

/// The lines of a log, without times and tags.
pub fn output(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    text.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default().to_owned() + "\n").collect()
}

pub fn exit(status: &ContainerStatus) -> (i32, String) {
    match &status.state {
        ContainerState::Exited { exit_code, reason, .. } => (*exit_code, reason.clone()),
        other => panic!("it is {other:?}"),
    }
}
