//! The `RuntimeDefault` seccomp profile: which system calls a container may make.
//!
//! The facts (which calls, under which capability, with which arguments) are those of upstream's default profile:
//! containerd's contrib/seccomp/seccomp_default.go, the same as moby's.
//!
//! A profile is compiled once and not at each start: libseccomp takes some ten milliseconds for one.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::sync::Arc;

use libseccomp::error::SeccompError;
use libseccomp::{ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall};
use parking_lot::Mutex;
use rustix::fs::{MemfdFlags, memfd_create};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::runtime::Error;

/// Allowed to every container.
#[rustfmt::skip]
const ALWAYS: &[&str] = &[
    "accept", "accept4", "access", "adjtimex", "alarm", "arch_prctl", "bind", "brk", "cachestat", "capget", "capset",
    "chdir", "chmod", "chown", "chown32", "clock_adjtime", "clock_adjtime64", "clock_getres", "clock_getres_time64",
    "clock_gettime", "clock_gettime64", "clock_nanosleep", "clock_nanosleep_time64", "close", "close_range",
    "connect", "copy_file_range", "creat", "dup", "dup2", "dup3", "epoll_create", "epoll_create1", "epoll_ctl",
    "epoll_ctl_old", "epoll_pwait", "epoll_pwait2", "epoll_wait", "epoll_wait_old", "eventfd", "eventfd2", "execve",
    "execveat", "exit", "exit_group", "faccessat", "faccessat2", "fadvise64", "fadvise64_64", "fallocate",
    "fanotify_mark", "fchdir", "fchmod", "fchmodat", "fchmodat2", "fchown", "fchown32", "fchownat", "fcntl",
    "fcntl64", "fdatasync", "fgetxattr", "flistxattr", "flock", "fork", "fremovexattr", "fsetxattr", "fstat",
    "fstat64", "fstatat64", "fstatfs", "fstatfs64", "fsync", "ftruncate", "ftruncate64", "futex", "futex_requeue",
    "futex_time64", "futex_wait", "futex_waitv", "futex_wake", "futimesat", "get_robust_list", "get_thread_area",
    "getcpu", "getcwd", "getdents", "getdents64", "getegid", "getegid32", "geteuid", "geteuid32", "getgid",
    "getgid32", "getgroups", "getgroups32", "getitimer", "getpeername", "getpgid", "getpgrp", "getpid", "getppid",
    "getpriority", "getrandom", "getresgid", "getresgid32", "getresuid", "getresuid32", "getrlimit", "getrusage",
    "getsid", "getsockname", "getsockopt", "gettid", "gettimeofday", "getuid", "getuid32", "getxattr", "getxattrat",
    "inotify_add_watch", "inotify_init", "inotify_init1", "inotify_rm_watch", "io_cancel", "io_destroy",
    "io_getevents", "io_pgetevents", "io_pgetevents_time64", "io_setup", "io_submit", "ioctl", "ioprio_get",
    "ioprio_set", "ipc", "kill", "landlock_add_rule", "landlock_create_ruleset", "landlock_restrict_self", "lchown",
    "lchown32", "lgetxattr", "link", "linkat", "listen", "listmount", "listxattr", "listxattrat", "llistxattr",
    "_llseek", "lremovexattr", "lseek", "lsetxattr", "lstat", "lstat64", "madvise", "map_shadow_stack", "membarrier",
    "memfd_create", "memfd_secret", "mincore", "mkdir", "mkdirat", "mknod", "mknodat", "mlock", "mlock2", "mlockall",
    "mmap", "mmap2", "modify_ldt", "mprotect", "mq_getsetattr", "mq_notify", "mq_open", "mq_timedreceive",
    "mq_timedreceive_time64", "mq_timedsend", "mq_timedsend_time64", "mq_unlink", "mremap", "mseal", "msgctl",
    "msgget", "msgrcv", "msgsnd", "msync", "munlock", "munlockall", "munmap", "name_to_handle_at", "nanosleep",
    "newfstatat", "_newselect", "open", "openat", "openat2", "pause", "pidfd_open", "pidfd_send_signal", "pipe",
    "pipe2", "pkey_alloc", "pkey_free", "pkey_mprotect", "poll", "ppoll", "ppoll_time64", "prctl", "pread64",
    "preadv", "preadv2", "prlimit64", "process_mrelease", "process_vm_readv", "process_vm_writev", "pselect6",
    "pselect6_time64", "ptrace", "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readlink", "readlinkat",
    "readv", "recv", "recvfrom", "recvmmsg", "recvmmsg_time64", "recvmsg", "remap_file_pages", "removexattr",
    "removexattrat", "rename", "renameat", "renameat2", "restart_syscall", "riscv_hwprobe", "rmdir", "rseq",
    "rt_sigaction", "rt_sigpending", "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend",
    "rt_sigtimedwait", "rt_sigtimedwait_time64", "rt_tgsigqueueinfo", "sched_get_priority_max",
    "sched_get_priority_min", "sched_getaffinity", "sched_getattr", "sched_getparam", "sched_getscheduler",
    "sched_rr_get_interval", "sched_rr_get_interval_time64", "sched_setaffinity", "sched_setattr", "sched_setparam",
    "sched_setscheduler", "sched_yield", "seccomp", "select", "semctl", "semget", "semop", "semtimedop",
    "semtimedop_time64", "send", "sendfile", "sendfile64", "sendmmsg", "sendmsg", "sendto", "set_robust_list",
    "set_thread_area", "set_tid_address", "setfsgid", "setfsgid32", "setfsuid", "setfsuid32", "setgid", "setgid32",
    "setgroups", "setgroups32", "setitimer", "setpgid", "setpriority", "setregid", "setregid32", "setresgid",
    "setresgid32", "setresuid", "setresuid32", "setreuid", "setreuid32", "setrlimit", "setsid", "setsockopt",
    "setuid", "setuid32", "setxattr", "setxattrat", "shmat", "shmctl", "shmdt", "shmget", "shutdown", "sigaltstack",
    "signalfd", "signalfd4", "sigprocmask", "sigreturn", "socketcall", "socketpair", "splice", "stat", "stat64",
    "statfs", "statfs64", "statmount", "statx", "symlink", "symlinkat", "sync", "sync_file_range", "syncfs",
    "sysinfo", "tee", "tgkill", "time", "timer_create", "timer_delete", "timer_getoverrun", "timer_gettime",
    "timer_gettime64", "timer_settime", "timer_settime64", "timerfd_create", "timerfd_gettime", "timerfd_gettime64",
    "timerfd_settime", "timerfd_settime64", "times", "tkill", "truncate", "truncate64", "ugetrlimit", "umask",
    "uname", "unlink", "unlinkat", "uretprobe", "utime", "utimensat", "utimensat_time64", "utimes", "vfork",
    "vmsplice", "wait4", "waitid", "waitpid", "write", "writev",
];

/// Allowed with a capability.
#[rustfmt::skip]
const WITH_CAPABILITY: &[(&str, &[&str])] = &[
    ("CAP_DAC_READ_SEARCH", &["open_by_handle_at"]),
    ("CAP_SYS_ADMIN", &[
        "bpf", "clone", "clone3", "fanotify_init", "fsconfig", "fsmount", "fsopen", "fspick", "lookup_dcookie",
        "lsm_get_self_attr", "lsm_list_modules", "lsm_set_self_attr", "mount", "mount_setattr", "move_mount",
        "open_tree", "perf_event_open", "quotactl", "quotactl_fd", "setdomainname", "sethostname", "setns",
        "syslog", "umount", "umount2", "unshare",
    ]),
    ("CAP_SYS_BOOT", &["reboot"]),
    ("CAP_SYS_CHROOT", &["chroot"]),
    ("CAP_SYS_MODULE", &["delete_module", "init_module", "finit_module"]),
    ("CAP_SYS_PACCT", &["acct"]),
    ("CAP_SYS_PTRACE", &["kcmp", "pidfd_getfd", "process_madvise"]),
    ("CAP_SYS_RAWIO", &["iopl", "ioperm"]),
    ("CAP_SYS_TIME", &["settimeofday", "stime", "clock_settime", "clock_settime64"]),
    ("CAP_SYS_TTY_CONFIG", &["vhangup"]),
    ("CAP_SYS_NICE", &["get_mempolicy", "mbind", "set_mempolicy", "set_mempolicy_home_node"]),
    ("CAP_SYSLOG", &["syslog"]),
    ("CAP_BPF", &["bpf"]),
    ("CAP_PERFMON", &["perf_event_open"]),
];

/// `CLONE_NEWNS`, `NEWCGROUP`, `NEWUTS`, `NEWIPC`, `NEWUSER`, `NEWPID`, `NEWNET`.
const CLONE_NAMESPACES: u64 = 0x7E02_0000;
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];
const AF_VSOCK: u64 = 40;
const ENOSYS: i32 = 38;

/// The profile of a container with these capabilities (`CAP_...`); `None` for none.
/// `profile` is `RuntimeDefault`, `Unconfined` or "", or `localhost/<path>`.
pub(super) fn profile(profile: &str, capabilities: &BTreeSet<String>) -> Result<Option<Value>, Error> {
    match profile {
        "" | "Unconfined" | "unconfined" => Ok(None),
        "RuntimeDefault" | "runtime/default" => Ok(Some(default_profile(capabilities))),
        other => {
            let Some(path) = other.strip_prefix("localhost/") else {
                return Err(Error::failed("reading the seccomp profile", format!("unknown profile {other:?}")));
            };
            let doing = || format!("failed to load seccomp profile {path:?}");
            let bytes = fs::read(path).map_err(|err| Error::failed(doing(), err))?;
            serde_json::from_slice(&bytes).map(Some).map_err(|err| Error::failed(doing(), err))
        }
    }
}

fn default_profile(capabilities: &BTreeSet<String>) -> Value {
    let mut allowed: BTreeSet<&str> = ALWAYS.iter().copied().collect();
    for (capability, calls) in WITH_CAPABILITY {
        if capabilities.contains(*capability) {
            allowed.extend(calls.iter());
        }
    }
    let mut rules = Vec::new();
    if !allowed.contains("clone") {
        let no_namespace = json!({"index": 0, "value": CLONE_NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"});
        rules.push(allow(&["clone"], json!([no_namespace])));
        // Its flags lie in memory that a filter cannot see; C libraries fall back to clone.
        rules.push(json!({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS}));
    }
    rules.push(allow(&["socket"], json!([{"index": 0, "value": AF_VSOCK, "op": "SCMP_CMP_NE"}])));
    for value in PERSONALITIES {
        rules.push(allow(&["personality"], json!([{"index": 0, "value": value, "op": "SCMP_CMP_EQ"}])));
    }
    rules.push(json!({"names": allowed, "action": "SCMP_ACT_ALLOW"}));
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": architectures(),
        "syscalls": rules,
    })
}

fn allow(names: &[&str], args: Value) -> Value {
    json!({"names": names, "action": "SCMP_ACT_ALLOW", "args": args})
}

fn architectures() -> &'static [&'static str] {
    match std::env::consts::ARCH {
        "x86_64" => &["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "aarch64" => &["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
        _ => &["SCMP_ARCH_NATIVE"],
    }
}

/// Profiles that were compiled before. Their number is bounded: when it is reached, all are forgotten.
#[derive(Debug, Default)]
pub(super) struct Filters {
    compiled: Mutex<HashMap<String, Arc<Vec<u8>>>>,
}

const FILTERS: usize = 64;

impl Filters {
    /// The BPF program of a profile, as the kernel takes it.
    pub(super) fn compile(&self, profile: &Value) -> Result<Arc<Vec<u8>>, Error> {
        let key = profile.to_string();
        if let Some(known) = self.compiled.lock().get(&key) {
            return Ok(known.clone());
        }
        let profile = Profile::deserialize(profile).map_err(|err| Error::failed("reading a seccomp profile", err))?;
        let program = Arc::new(profile.compile().map_err(|err| Error::failed("compiling a seccomp profile", err))?);
        let mut compiled = self.compiled.lock();
        if compiled.len() >= FILTERS {
            compiled.clear();
        }
        compiled.insert(key, program.clone());
        Ok(program)
    }
}

/// The OCI form of a profile. Upstream: runtime-spec's config-linux.md.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<i32>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    syscalls: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    names: Vec<String>,
    action: String,
    errno_ret: Option<i32>,
    #[serde(default)]
    args: Vec<Condition>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

impl Profile {
    fn compile(&self) -> Result<Vec<u8>, FilterError> {
        let default = action(&self.default_action, self.default_errno_ret)?;
        let mut filter = ScmpFilterContext::new(default)?;
        // A binary tree in place of a chain; older libraries do not know it.
        let _ = filter.set_ctl_optimize(2);
        for name in &self.architectures {
            filter.add_arch(name.parse::<ScmpArch>()?)?;
        }
        for rule in &self.syscalls {
            let action = action(&rule.action, rule.errno_ret)?;
            if action == default {
                continue;
            }
            let conditions = rule.args.iter().map(Condition::compile).collect::<Result<Vec<_>, _>>()?;
            let distinct = rule.args.iter().map(|arg| arg.index).collect::<HashSet<_>>().len() == rule.args.len();
            // A call that this kernel's library does not know cannot be made by name either.
            for call in rule.names.iter().filter_map(|name| ScmpSyscall::from_name(name).ok()) {
                match &conditions[..] {
                    [] => filter.add_rule(action, call).map(drop)?,
                    all if distinct => filter.add_rule_conditional(action, call, all).map(drop)?,
                    // As runc: several conditions on one argument are alternatives.
                    all => all.iter().try_for_each(|one| {
                        filter.add_rule_conditional(action, call, std::slice::from_ref(one)).map(drop)
                    })?,
                }
            }
        }
        let mut file = File::from(memfd_create("seccomp", MemfdFlags::CLOEXEC).map_err(io::Error::from)?);
        filter.export_bpf(&mut file)?;
        let mut program = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut program)?;
        Ok(program)
    }
}

impl Condition {
    fn compile(&self) -> Result<ScmpArgCompare, SeccompError> {
        // A masked comparison has the mask first.
        Ok(match self.op.parse()? {
            ScmpCompareOp::MaskedEqual(_) => {
                ScmpArgCompare::new(self.index, ScmpCompareOp::MaskedEqual(self.value), self.value_two)
            }
            op => ScmpArgCompare::new(self.index, op, self.value),
        })
    }
}

fn action(name: &str, errno: Option<i32>) -> Result<ScmpAction, FilterError> {
    match name {
        "SCMP_ACT_NOTIFY" => Err(FilterError::Notify),
        name => Ok(ScmpAction::from_str(name, Some(errno.unwrap_or(libc::EPERM)))?),
    }
}

/// Why a profile was not compiled.
#[derive(Debug, thiserror::Error)]
enum FilterError {
    #[error(transparent)]
    Library(#[from] SeccompError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("SCMP_ACT_NOTIFY needs a listener, which is not supported")]
    Notify,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed_plainly(profile: &Value) -> Vec<&str> {
        let rules = profile["syscalls"].as_array().expect("rules");
        let plain = rules.iter().filter(|rule| rule["action"] == "SCMP_ACT_ALLOW" && rule["args"].is_null());
        plain.flat_map(|rule| rule["names"].as_array().expect("names")).filter_map(Value::as_str).collect()
    }

    #[test]
    fn capabilities_open_what_they_are_for() {
        let none = default_profile(&BTreeSet::new());
        let admin = default_profile(&BTreeSet::from(["CAP_SYS_ADMIN".to_owned()]));
        assert!(!allowed_plainly(&none).contains(&"mount") && !allowed_plainly(&none).contains(&"clone"));
        assert!(allowed_plainly(&admin).contains(&"mount") && allowed_plainly(&admin).contains(&"clone"));
        assert!(allowed_plainly(&none).contains(&"openat"));
    }

    #[test]
    fn a_profile_is_compiled_once() {
        let filters = Filters::default();
        let profile = default_profile(&BTreeSet::new());
        let program = filters.compile(&profile).expect("it compiles");
        assert!(!program.is_empty() && program.len() % 8 == 0);
        assert!(Arc::ptr_eq(&program, &filters.compile(&profile).expect("it compiles")));
        for bad in [json!({}), json!({"defaultAction": "SCMP_ACT_NOTIFY"}), json!({"defaultAction": "LATER"})] {
            assert!(filters.compile(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_profiles_are_known() {
        let none = BTreeSet::new();
        assert!(profile("Unconfined", &none).expect("known").is_none());
        assert!(profile("RuntimeDefault", &none).expect("known").is_some());
        assert!(profile("Strict", &none).is_err());
        assert!(profile("localhost/nowhere.json", &none).is_err());
    }
}
