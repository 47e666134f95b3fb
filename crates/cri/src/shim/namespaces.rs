//! The sandbox's namespaces: the helper lives in the UTS and IPC namespaces and its containers inherit them, so no pause
//! process and no mount keeps them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use rustix::system::sethostname;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::child;
use super::protocol::ShimConfig;

/// Enters new namespaces and sets them up; answers the init of a shared PID namespace.
pub(super) fn set_up(config: &ShimConfig) -> io::Result<Option<i32>> {
    let mut flags = UnshareFlags::empty();
    flags.set(UnshareFlags::NEWIPC, config.new_ipc);
    flags.set(UnshareFlags::NEWUTS, config.hostname.is_some());
    // SAFETY: neither flag touches the file descriptors or memory of this process.
    unsafe { rustix::thread::unshare_unsafe(flags) }?;
    if let Some(hostname) = &config.hostname {
        sethostname(hostname.as_bytes())?;
    }
    set_sysctls(config)?;
    if config.shared_pid { Ok(Some(spawn_init(&config.init_cgroups)?)) } else { Ok(None) }
}

fn set_sysctls(config: &ShimConfig) -> io::Result<()> {
    let (net, other): (BTreeMap<_, _>, BTreeMap<_, _>) =
        config.sysctls.iter().map(|(name, value)| (sysctl_path(name), value)).partition(|(p, _)| p.starts_with("net"));
    let set = |sysctls: BTreeMap<PathBuf, &String>| {
        sysctls.into_iter().try_for_each(|(path, value)| {
            let path = Path::new("/proc/sys").join(path);
            fs::write(&path, value).map_err(|err| io::Error::other(format!("{}: {err}", path.display())))
        })
    };
    set(other)?;
    let Some(netns) = config.netns.as_ref().filter(|_| !net.is_empty()) else { return set(net) };
    let home = File::open("/proc/self/ns/net")?;
    move_into_link_name_space(File::open(netns)?.as_fd(), Some(LinkNameSpaceType::Network))?;
    let result = set(net);
    move_into_link_name_space(home.as_fd(), Some(LinkNameSpaceType::Network))?;
    result
}

/// Both notations: when the first separator is a slash, slashes separate; else dots do, and a slash stands for a dot.
fn sysctl_path(name: &str) -> PathBuf {
    match name.find(['.', '/']).map(|at| name.as_bytes()[at]) {
        Some(b'/') | None => PathBuf::from(name),
        _ => name
            .chars()
            .map(|c| {
                if c == '.' {
                    '/'
                } else if c == '/' {
                    '.'
                } else {
                    c
                }
            })
            .collect::<String>()
            .into(),
    }
}

/// Forks PID 1 of a new PID namespace. It does nothing but stay: with SIGCHLD ignored, the kernel reaps its orphans.
fn spawn_init(cgroups: &[PathBuf]) -> io::Result<i32> {
    let flags = libc::c_long::from(libc::CLONE_NEWPID | libc::SIGCHLD);
    // SAFETY: without CLONE_VM this is fork; there is one thread.
    match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let ready = cgroups.iter().try_for_each(|file| fs::write(file, "0")).and_then(|()| child::detach("pause"));
            if ready.is_err() {
                child::exit(1);
            }
            loop {
                // SAFETY: waits for a signal.
                unsafe { libc::pause() };
            }
        }
        pid => i32::try_from(pid).map_err(io::Error::other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_notations_of_a_parameter_are_read() {
        for (name, path) in [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/conf/eth0.1/x", "net/ipv4/conf/eth0.1/x"),
            ("net.ipv4.conf.eth0/1.x", "net/ipv4/conf/eth0.1/x"),
        ] {
            assert_eq!(sysctl_path(name), Path::new(path));
        }
    }
}
