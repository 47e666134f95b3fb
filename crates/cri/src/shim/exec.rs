//! Running a further program in a container.
//!
//! This is our own and not youki's tenant builder: that one leaves the container's seccomp profile out, and takes twice
//! the time. The order of the steps is runc's (libcontainer/setns_init_linux.go).

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use libcontainer::oci_spec::runtime::{Process, Spec};
use rustix::fs::{CWD, Gid, Mode, OFlags, Uid, fchown, openat};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, PidfdFlags, pidfd_open, setsid};
use rustix::thread::{ThreadNameSpaceType, move_into_thread_name_spaces};

use super::child;
use super::protocol::{Incoming, Launch, send};
use super::rights::Rights;

/// What to run and where.
pub(super) struct Exec<'a> {
    /// Where the container's files are.
    pub(super) directory: &'a Path,
    /// First process of the container.
    pub(super) target: i32,
    pub(super) args: &'a [String],
    pub(super) tty: bool,
    /// stdin, stdout, stderr; none with a terminal.
    pub(super) streams: Vec<OwnedFd>,
    pub(super) launch: &'a Launch,
}

/// A program that runs.
pub(super) struct Started {
    pub(super) pid: i32,
    /// Its terminal's master.
    pub(super) terminal: Option<OwnedFd>,
}

/// Words on the way from the new process: each is one message, its kind in the first byte.
const PID: u8 = b'p';
const TERMINAL: u8 = b't';
const FAILURE: u8 = b'f';

impl Exec<'_> {
    /// Starts the program; answers when it runs or why it does not.
    pub(super) fn start(self) -> Result<Started, String> {
        let spec = Spec::load(self.directory.join("config.json")).map_err(|err| err.to_string())?;
        let rights = Rights::load(self.directory, self.launch).map_err(text)?;
        let process = spec.process().as_ref().ok_or("the container has no process")?;
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).map_err(text)?;
        let target = Pid::from_raw(self.target).ok_or("the container has no process")?;
        let target = pidfd_open(target, PidfdFlags::empty()).map_err(text)?;
        // SAFETY: there is one thread.
        match unsafe { libc::fork() } {
            -1 => Err(text(io::Error::last_os_error())),
            0 => {
                if let Err(cause) = self.enter(&target, process, &rights, &theirs) {
                    fail(&theirs, &cause);
                }
                child::exit(0);
            }
            intermediate => {
                drop(theirs);
                let started = listen(&ours);
                // SAFETY: our own child, which ends after its fork.
                unsafe { libc::waitpid(intermediate, std::ptr::null_mut(), 0) };
                started
            }
        }
    }

    /// In the first fork: into the container's groups and namespaces, then the fork that is inside its PID namespace.
    fn enter(&self, target: &OwnedFd, process: &Process, rights: &Rights, told: &OwnedFd) -> Result<(), String> {
        for cgroup in &self.launch.cgroups {
            fs::write(cgroup.join("cgroup.procs"), "0").map_err(|err| format!("{}: {err}", cgroup.display()))?;
        }
        // Refused where it would have to be lowered; it is then inherited.
        let _ = fs::write("/proc/self/oom_score_adj", self.launch.oom_score_adj.to_string());
        let spaces = ThreadNameSpaceType::MOUNT
            | ThreadNameSpaceType::PROCESS_ID
            | ThreadNameSpaceType::NETWORK
            | ThreadNameSpaceType::CONTROL_GROUP
            | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION
            | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME;
        move_into_thread_name_spaces(target.as_fd(), spaces).map_err(text)?;
        let flags = libc::c_long::from(libc::CLONE_PARENT);
        // SAFETY: without CLONE_VM this is fork; the child is the helper's, as its sibling's would be.
        match unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) } {
            -1 => Err(text(io::Error::last_os_error())),
            0 => match self.become_program(process, rights, told) {
                Ok(never) => match never {},
                Err(cause) => {
                    fail(told, &cause);
                    child::exit(127)
                }
            },
            pid => tell(told, PID, pid.to_string().as_bytes(), None).map_err(text),
        }
    }

    /// In the second fork, inside the container.
    fn become_program(
        &self,
        process: &Process,
        rights: &Rights,
        told: &OwnedFd,
    ) -> Result<std::convert::Infallible, String> {
        setsid().map_err(text)?;
        let (uid, gid) = (process.user().uid(), process.user().gid());
        if self.tty {
            open_terminal(told, uid)?;
        } else {
            let [stdin, stdout, stderr] = &self.streams[..] else { return Err("three streams are needed".to_owned()) };
            rustix::stdio::dup2_stdin(stdin).map_err(text)?;
            rustix::stdio::dup2_stdout(stdout).map_err(text)?;
            rustix::stdio::dup2_stderr(stderr).map_err(text)?;
        }
        let chdir =
            || rustix::process::chdir(process.cwd()).map_err(|err| format!("chdir to {:?}: {err}", process.cwd()));
        let entered = chdir();
        let groups: Vec<Gid> =
            process.user().additional_gids().iter().flatten().map(|gid| Gid::from_raw(*gid)).collect();
        rustix::thread::set_thread_groups(&groups).map_err(text)?;
        set_ids(uid, gid)?;

        // A directory that only the container's user may enter.
        entered.or_else(|_| chdir())?;
        rights.lay_down()?;
        let mut env = process.env().clone().unwrap_or_default();
        if self.tty && !env.iter().any(|entry| entry.starts_with("TERM=")) {
            env.push("TERM=xterm".to_owned());
        }
        child::reset_signals();
        // SAFETY: the flag closes everything but the streams when the program starts, `told` included.
        unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
        child::execute(self.args, &env)
    }
}

fn text(err: impl Into<io::Error>) -> String {
    err.into().to_string()
}

/// Keeps the capabilities over the change of user; what the program may not have is dropped after.
fn set_ids(uid: u32, gid: u32) -> Result<(), String> {
    // SAFETY: plain calls.
    let results = unsafe {
        [
            libc::prctl(libc::PR_SET_KEEPCAPS, 1, 0, 0, 0),
            libc::setresgid(gid, gid, gid),
            libc::setresuid(uid, uid, uid),
            libc::prctl(libc::PR_SET_KEEPCAPS, 0, 0, 0, 0),
        ]
    };
    if results.contains(&-1) { Err(text(io::Error::last_os_error())) } else { Ok(()) }
}

/// A terminal of the container's own devpts becomes the controlling one; its master goes to the helper.
fn open_terminal(told: &OwnedFd, uid: u32) -> Result<(), String> {
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let master = openat(CWD, "/dev/ptmx", flags, Mode::empty()).map_err(|err| format!("/dev/ptmx: {err}"))?;
    rustix::pty::unlockpt(&master).map_err(text)?;
    // SAFETY: the request takes open flags and answers a new descriptor.
    let slave = match unsafe { libc::ioctl(master.as_raw_fd(), libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY) } {
        -1 => return Err(text(io::Error::last_os_error())),
        // SAFETY: it was just opened for us.
        fd => unsafe { OwnedFd::from_raw_fd(fd) },
    };
    fchown(&slave, Some(Uid::from_raw(uid)), None).map_err(text)?;
    tell(told, TERMINAL, b"", Some(&master)).map_err(text)?;
    rustix::process::ioctl_tiocsctty(&slave).map_err(text)?;
    rustix::stdio::dup2_stdin(&slave).map_err(text)?;
    rustix::stdio::dup2_stdout(&slave).map_err(text)?;
    rustix::stdio::dup2_stderr(&slave).map_err(text)
}

fn tell(told: &OwnedFd, kind: u8, words: &[u8], fd: Option<&OwnedFd>) -> io::Result<()> {
    let message = [&[kind], words].concat();
    match fd {
        Some(fd) => send(told, &message, &[fd.as_fd()]).map(drop),
        None => Ok(rustix::net::send(told, &message, SendFlags::NOSIGNAL).map(drop)?),
    }
}

fn fail(told: &OwnedFd, cause: &str) {
    let _ = tell(told, FAILURE, cause.as_bytes(), None);
}

/// Hears the new process until its end of the socket closes, which exec does.
fn listen(ours: &OwnedFd) -> Result<Started, String> {
    let mut started = Started { pid: 0, terminal: None };
    let mut failure = None;
    loop {
        let mut incoming = Incoming::default();
        match incoming.receive(ours) {
            Ok(0) => break,
            Ok(_) => {}
            Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
            Err(err) => return Err(text(err)),
        }
        match incoming.bytes().split_first() {
            Some((&PID, pid)) => {
                started.pid = String::from_utf8_lossy(pid).parse().map_err(|_| "no process id was told".to_owned())?;
            }
            Some((&TERMINAL, _)) => started.terminal = incoming.take_fd(),
            Some((_, cause)) => failure = Some(String::from_utf8_lossy(cause).into_owned()),
            None => {}
        }
    }
    match failure {
        Some(cause) => Err(cause),
        None if started.pid == 0 => Err("the program ended before it began".to_owned()),
        None => Ok(started),
    }
}
