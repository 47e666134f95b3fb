//! `kaji check`: can this machine run clusters?

use std::fs;
use std::path::Path;

use anyhow::bail;

struct Finding {
    what: &'static str,
    /// What to do when it is missing.
    missing: Option<String>,
}

/// Prints what was looked at; fails when something needed is missing.
pub fn run() -> anyhow::Result<()> {
    let findings = [root(), kernel(), cgroups(), file_system("overlay"), namespaces(), nf_tables()];
    let mut lacking = 0;
    for finding in findings {
        match finding.missing {
            None => println!(" ✓ {}", finding.what),
            Some(remedy) => {
                lacking += 1;
                println!(" ✗ {}: {remedy}", finding.what);
            }
        }
    }
    if lacking > 0 {
        bail!("{lacking} of the things clusters need are missing");
    }
    Ok(())
}

fn root() -> Finding {
    let is_root = rustix::process::geteuid().is_root();
    Finding { what: "run by root", missing: (!is_root).then(|| "use sudo".to_owned()) }
}

fn kernel() -> Finding {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let missing = (version < (5, 10)).then(|| format!("this is {release}; 5.10 or newer is needed"));
    Finding { what: "Linux 5.10 or newer", missing }
}

fn cgroups() -> Finding {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mounted = |kind: &str| mounts.lines().any(|line| line.split(' ').nth(2) == Some(kind));
    let v2 = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").is_ok_and(|list| list.contains("memory"));
    let v1 = mounted("cgroup") && mounts.contains("memory");
    let missing = (!v1 && !v2).then(|| "mount cgroup v2 on /sys/fs/cgroup, or the v1 hierarchies".to_owned());
    Finding { what: "cgroups with the memory controller", missing }
}

fn file_system(name: &'static str) -> Finding {
    let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let present = known.lines().any(|line| line.trim_start_matches("nodev").trim() == name);
    Finding { what: "overlayfs", missing: (!present).then(|| format!("load the kernel module '{name}'")) }
}

fn namespaces() -> Finding {
    let lacking: Vec<&str> = ["net", "mnt", "pid", "uts", "ipc"]
        .into_iter()
        .filter(|kind| !Path::new("/proc/self/ns").join(kind).exists())
        .collect();
    let missing = (!lacking.is_empty()).then(|| format!("the kernel lacks {}", lacking.join(", ")));
    Finding { what: "namespaces", missing }
}

fn nf_tables() -> Finding {
    // A netlink socket of the netfilter family opens whether or not nf_tables is there; the module's presence shows
    // in /proc only when it is a module. So ask for the socket, and leave the rest to the first rule.
    let opened = rustix::net::socket(
        rustix::net::AddressFamily::NETLINK,
        rustix::net::SocketType::RAW,
        Some(rustix::net::netlink::NETFILTER),
    );
    Finding {
        what: "nftables",
        missing: opened.err().map(|err| format!("the kernel refuses netfilter sockets ({err})")),
    }
}
