//! The first process of a node: it makes the node's namespaces, keeps them alive, starts `kaji server` in them, starts
//! it again when it dies, and reaps what is left without a parent.
//!
//! It is to the node what systemd is to a machine. Single-threaded, no async, a few hundred kilobytes of its own;
//! killing it is pulling the node's plug. Caveat: it holds the API's listening socket (opened by the launcher in its
//! own network namespace), so connections wait, rather than fail, while the server restarts.
//!
//! ```text
//! launcher --spawn--> stage 1 --unshare, fork--> PID 1 --waits for "go"--> mounts, host name --> server
//!     ^------- pid -------'                        '--- SIGTERM: stop the server, then exit; the kernel ends the rest
//! ```

use std::ffi::{CString, OsStr};
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

/// The file descriptor under which the server finds the API's listener (the convention of socket activation).
pub const LISTENER_FD: i32 = 3;
/// The exit code of a server that cannot start, and will not by trying again (`EX_CONFIG` of sysexits.h).
pub const CANNOT_START: u8 = 78;
/// How long the server may take to stop.
const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// A server that ran this long is started again at once.
const STABLE: Duration = Duration::from_secs(10);
const MAX_RESTART_DELAY: Duration = Duration::from_secs(5);

/// What the first process needs to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InitSpec {
    /// Host name of the node.
    pub hostname: String,
    /// The node's directory on this machine.
    pub dir: PathBuf,
    /// Arguments of `kaji`, beginning with `server`.
    pub server_args: Vec<String>,
}

impl InitSpec {
    /// Where the node's first process writes, and the server's standard error goes.
    pub fn log_path(dir: &Path) -> PathBuf {
        dir.join("kaji.log")
    }
}

/// Runs stage 1: reads the spec at `spec_path`, makes the namespaces, prints the first process's number and ends.
/// `listener_fd` is the inherited API socket.
///
/// The first process waits for one byte on standard input before it goes on; end of file ends it.
pub fn main(spec_path: &Path, listener_fd: i32) -> ExitCode {
    match stage_one(spec_path, listener_fd) {
        Ok(code) => code,
        Err(err) => {
            eprintln!("node-init: {err}");
            ExitCode::FAILURE
        }
    }
}

fn stage_one(spec_path: &Path, listener_fd: i32) -> io::Result<ExitCode> {
    let spec: InitSpec = serde_json::from_slice(&fs::read(spec_path)?)?;
    // SAFETY: plain system calls; this process has one thread and nothing else uses the descriptors.
    unsafe {
        if libc::dup2(listener_fd, LISTENER_FD) == -1 {
            return Err(io::Error::last_os_error());
        }
        if listener_fd != LISTENER_FD {
            libc::close(listener_fd);
        }
    }
    rustix::process::setsid()?;
    let namespaces =
        UnshareFlags::NEWNET | UnshareFlags::NEWNS | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC | UnshareFlags::NEWPID;
    // SAFETY: this process has one thread, and no flag touches its file descriptors.
    unsafe { rustix::thread::unshare_unsafe(namespaces)? };
    // SAFETY: this process has one thread, so the child may do anything.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            if let Err(err) = first_process(&spec) {
                eprintln!("node-init: {err}");
                std::process::exit(1);
            }
            std::process::exit(0);
        }
        pid => {
            println!("{pid}");
            io::stdout().flush()?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn first_process(spec: &InitSpec) -> io::Result<()> {
    let signals = block_signals()?;
    let mut go = [0_u8; 1];
    if io::stdin().read(&mut go)? == 0 {
        return Ok(());
    }
    // Stage 1's standard output is the launcher's pipe: let go of it.
    redirect_to_log(&spec.dir)?;
    rustix::system::sethostname(spec.hostname.as_bytes())?;
    mount_all(&spec.dir)?;
    supervise(spec, &signals)
}

/// Gives the node a file system of its own: the machine's, but with `/proc`, `/run` and `/var/log` that are the node's.
fn mount_all(dir: &Path) -> io::Result<()> {
    let downstream = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", downstream)?;
    mount_change("/", MountPropagationFlags::SHARED | MountPropagationFlags::REC)?;
    let safe = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", safe, None::<&std::ffi::CStr>)?;
    // Read before /run is covered: it may be a link into it.
    let resolv_conf = fs::read("/etc/resolv.conf").unwrap_or_default();
    let mode = CString::new("mode=0755").expect("no NUL in a constant");
    mount("tmpfs", "/run", "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, Some(mode.as_c_str()))?;
    fs::create_dir_all("/run/kaji")?;
    fs::write("/run/kaji/resolv.conf", resolv_conf)?;
    let log = dir.join("log");
    fs::create_dir_all(&log)?;
    mount_bind(&log, "/var/log")?;
    Ok(())
}

fn redirect_to_log(dir: &Path) -> io::Result<()> {
    let log = fs::OpenOptions::new().create(true).append(true).open(InitSpec::log_path(dir))?;
    let null = fs::File::open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&log)?;
    rustix::stdio::dup2_stderr(&log)?;
    Ok(())
}

/// Keeps the server running until SIGTERM, then stops it and returns.
fn supervise(spec: &InitSpec, signals: &Signals) -> io::Result<()> {
    let mut delay = Duration::ZERO;
    let mut stop_by: Option<Instant> = None;
    let mut server: Option<(i32, Instant)> = None;
    let mut start_at = Some(Instant::now());
    let mut starts = 0_u64;
    loop {
        if let Some(at) = start_at
            && at <= Instant::now()
        {
            server = Some((start_server(spec)?, Instant::now()));
            starts += 1;
            start_at = None;
        }
        let wake_at = start_at.or(stop_by);
        match signals.wait(wake_at)? {
            Signal::Stop => match server {
                None => return Ok(()),
                Some((pid, _)) => {
                    kill(pid, libc::SIGTERM);
                    stop_by = Some(Instant::now() + STOP_DEADLINE);
                    start_at = None;
                }
            },
            Signal::ChildEnded => {
                let Some((pid, started)) = server else {
                    reap_orphans(None);
                    continue;
                };
                if let Some(status) = reap_orphans(Some(pid)) {
                    if stop_by.is_some() {
                        return Ok(());
                    }
                    // Later on there may be containers to keep, and what failed may come right.
                    if starts == 1 && status == Ended::Code(CANNOT_START.into()) {
                        return Err(io::Error::other("the server cannot start"));
                    }
                    delay = if started.elapsed() >= STABLE { Duration::ZERO } else { next_delay(delay) };
                    eprintln!("node-init: the server ended ({status}); starting it again in {delay:?}");
                    server = None;
                    start_at = Some(Instant::now() + delay);
                }
            }
            Signal::TimeOut => {
                if let (Some(by), Some((pid, _))) = (stop_by, server)
                    && by <= Instant::now()
                {
                    kill(pid, libc::SIGKILL);
                    return Ok(());
                }
            }
        }
    }
}

fn next_delay(delay: Duration) -> Duration {
    (delay * 2).clamp(Duration::from_millis(100), MAX_RESTART_DELAY)
}

fn start_server(spec: &InitSpec) -> io::Result<i32> {
    let mut command = Command::new("/proc/self/exe");
    command.args(spec.server_args.iter().map(OsStr::new)).stdin(Stdio::null());
    command.arg0("kaji").env("LISTEN_FDS", "1");
    // SAFETY: only async-signal-safe calls between fork and exec.
    unsafe {
        command.pre_exec(|| {
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
            Ok(())
        });
    }
    let child = command.spawn()?;
    Ok(child.id() as i32)
}

/// Reaps every ended child; answers how `server` ended, if it did.
fn reap_orphans(server: Option<i32>) -> Option<Ended> {
    let mut ended = None;
    loop {
        let mut status = 0;
        // SAFETY: a plain system call with a valid pointer.
        let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
        if pid <= 0 {
            return ended;
        }
        if Some(pid) == server {
            ended = Some(if libc::WIFSIGNALED(status) {
                Ended::Signal(libc::WTERMSIG(status))
            } else {
                Ended::Code(libc::WEXITSTATUS(status))
            });
        }
    }
}

fn kill(pid: i32, signal: i32) {
    // SAFETY: a plain system call; the process is our unreaped child, so the number is still its own.
    unsafe { libc::kill(pid, signal) };
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Code(i32),
    Signal(i32),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => write!(f, "signal {number}"),
        }
    }
}

enum Signal {
    Stop,
    ChildEnded,
    TimeOut,
}

struct Signals(libc::sigset_t);

fn block_signals() -> io::Result<Signals> {
    // SAFETY: the set is initialised by sigemptyset before it is read.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGCHLD] {
            libc::sigaddset(&mut set, signal);
        }
        match libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) {
            0 => Ok(Signals(set)),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

impl Signals {
    /// Waits for a signal, until `deadline` if there is one.
    fn wait(&self, deadline: Option<Instant>) -> io::Result<Signal> {
        loop {
            // SAFETY: set and timeout are valid; no information about the signal is asked for.
            let signal = unsafe {
                match deadline {
                    None => libc::sigwaitinfo(&self.0, std::ptr::null_mut()),
                    Some(at) => {
                        let left = at.saturating_duration_since(Instant::now());
                        let left = libc::timespec {
                            tv_sec: left.as_secs().try_into().unwrap_or(libc::time_t::MAX),
                            tv_nsec: left.subsec_nanos().into(),
                        };
                        libc::sigtimedwait(&self.0, std::ptr::null_mut(), &left)
                    }
                }
            };
            return match signal {
                libc::SIGCHLD => Ok(Signal::ChildEnded),
                libc::SIGTERM | libc::SIGINT => Ok(Signal::Stop),
                _ => match io::Error::last_os_error() {
                    err if err.raw_os_error() == Some(libc::EAGAIN) => Ok(Signal::TimeOut),
                    err if err.kind() == io::ErrorKind::Interrupted => continue,
                    err => Err(err),
                },
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_keeps_dying_is_started_ever_later() {
        let mut delay = Duration::ZERO;
        let mut delays = Vec::new();
        for _ in 0..8 {
            delay = next_delay(delay);
            delays.push(delay.as_millis());
        }
        assert_eq!(delays, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
    }
}
