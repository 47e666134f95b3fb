//! A cluster for one test.

use std::fs;
use std::path::PathBuf;

use crate::{Background, Machine, Run};

/// A cluster on a machine of its own; deleted, with all it left, when dropped.
#[derive(Debug)]
pub struct Cluster {
    /// The machine it runs on.
    pub machine: Machine,
    name: String,
    kubectl: PathBuf,
}

impl Cluster {
    /// Creates a cluster with the binary under test. Its name is unique, for cgroups are shared by all machines.
    #[track_caller]
    pub fn create(kaji: &str, test: &str) -> Self {
        Self::create_with(kaji, test, &[])
    }

    /// Creates a cluster with further arguments of `kaji cluster create`.
    #[track_caller]
    pub fn create_with(kaji: &str, test: &str, args: &[&str]) -> Self {
        Self::create_on(Machine::new(kaji), test, args)
    }

    /// Creates a cluster on a machine that was made ready for it.
    #[track_caller]
    pub fn create_on(machine: Machine, test: &str, args: &[&str]) -> Self {
        let name = format!("{test}-{}", std::process::id());
        let cluster = Self { machine, name, kubectl: kubectl() };
        let all = [&["cluster", "create", "--name", &cluster.name], args].concat();
        cluster.machine.kaji(&all).ok();
        cluster
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its node's name.
    pub fn node(&self) -> String {
        format!("{}-0", self.name)
    }

    /// `kaji cluster <verb> --name <this one>`.
    pub fn kaji_here(&self, verb: &str) -> Run {
        self.machine.kaji(&["cluster", verb, "--name", &self.name])
    }

    /// Runs kubectl.
    pub fn kubectl(&self, args: &[&str]) -> Run {
        self.machine.run(&self.kubectl, args)
    }

    /// Runs kubectl with this on its standard input.
    pub fn kubectl_with_input(&self, args: &[&str], input: &str) -> Run {
        self.machine.run_with_input(&self.kubectl, args, input)
    }

    /// Runs a line of the shell with kubectl on the path, as a person would type it.
    pub fn shell(&self, line: &str) -> Run {
        let mut command = self.machine.command("/bin/bash", &["-euo", "pipefail", "-c", line]);
        let dir = self.kubectl.parent().expect("kubectl is in a directory").display().to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{dir}:{path}"));
        self.machine.finish(command, &[line])
    }

    /// Starts kubectl and reads its lines as they come.
    pub fn start_kubectl(&self, args: &[&str]) -> Background {
        self.machine.spawn(&self.kubectl, args)
    }

    /// Applies a manifest.
    #[track_caller]
    pub fn apply(&self, manifest: &str) -> String {
        self.kubectl_with_input(&["apply", "-f", "-"], manifest).ok()
    }

    /// The value of a JSON path of an object, as `pod/web`, `{.status.podIP}`.
    #[track_caller]
    pub fn value(&self, object: &str, path: &str) -> String {
        self.kubectl(&["get", object, "-o", &format!("jsonpath={path}")]).ok()
    }

    /// Waits until `kubectl wait --for` holds of the objects.
    #[track_caller]
    pub fn wait(&self, condition: &str, objects: &[&str]) {
        let condition = format!("--for={condition}");
        let mut args = vec!["wait", &condition, "--timeout=90s"];
        args.extend(objects);
        let run = self.kubectl(&args);
        assert_eq!(run.code, 0, "{run}\n{}", self.story());
    }

    /// Waits for a rollout.
    #[track_caller]
    pub fn rolled_out(&self, object: &str) {
        let run = self.kubectl(&["rollout", "status", object, "--timeout=90s"]);
        assert_eq!(run.code, 0, "{run}\n{}", self.story());
    }

    /// The node's address.
    #[track_caller]
    pub fn node_address(&self) -> String {
        self.value(&format!("node/{}", self.node()), "{.status.addresses[?(@.type==\"InternalIP\")].address}")
    }

    /// The process number of the node's server on this machine.
    #[track_caller]
    pub fn server_pid(&self) -> i32 {
        let state = fs::read_to_string(self.machine.home().join("clusters").join(&self.name).join("cluster.json"));
        let state: serde_json::Value = serde_json::from_str(&state.expect("the cluster's state")).expect("JSON");
        let init = state["nodes"][0]["process"]["pid"].as_i64().expect("the node runs");
        let children = fs::read_to_string(format!("/proc/{init}/task/{init}/children")).expect("its children");
        let server = children.split_whitespace().find(|pid| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split('\0').nth(1) == Some("server")
        });
        server.expect("the server runs").parse().expect("a number")
    }

    /// Whatever helps to understand a failure.
    pub fn story(&self) -> String {
        let mut story = String::new();
        for args in [&["get", "pods", "-A", "-o", "wide"][..], &["describe", "pods"], &["get", "events", "-A"]] {
            story.push_str(&self.kubectl(args).to_string());
        }
        let log = self.machine.home().join("clusters").join(&self.name).join(self.node()).join("kaji.log");
        let log = fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        story.push_str("--- the end of the node's log\n");
        story.push_str(&lines[lines.len().saturating_sub(60)..].join("\n"));
        story
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.story());
        }
        let deleted = self.kaji_here("delete");
        if !std::thread::panicking() {
            assert_eq!(deleted.code, 0, "{deleted}");
        }
    }
}

/// The kubectl under test: `$KUBECTL`, which `make test` sets, else the one on the path.
fn kubectl() -> PathBuf {
    std::env::var_os("KUBECTL").map_or_else(|| PathBuf::from("kubectl"), PathBuf::from)
}
