//! One container of the pod: made and started through youki's library, watched to its end.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use rustix::fs::{Gid, Uid, fchown};
use rustix::mount::{UnmountFlags, unmount};
use rustix::pipe::{PipeFlags, pipe_with};

use super::child::{ContainerExecutor, reopen_read_write};
use super::log::LogFile;
use super::protocol::{Incoming, LAUNCH_FILE, Launch, STATUS_FILE, Status};
use super::rights::Rights;
use super::stdio::{Stdio, nonblocking};
use crate::runtime::ContainerState;

/// Where youki's library keeps its own state, in the sandbox's directory.
const OCI_ROOT: &str = "oci";

/// A container that was started here.
pub(super) struct Container {
    directory: PathBuf,
    launch: Launch,
    pub(super) stdio: Stdio,
    pub(super) status: Status,
}

impl Container {
    /// Makes and starts the container of `directory`. When that fails, the container has ended with a `StartError`.
    pub(super) fn start(directory: &Path) -> io::Result<(Self, Result<(), String>)> {
        let launch: Launch = serde_json::from_slice(&fs::read(directory.join(LAUNCH_FILE))?)?;
        let id = directory.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let mut stdio = Stdio::new(launch.tty, launch.stdin_once);
        let started_at = component_base::now();
        let result = stdio.open_log(&launch).and_then(|()| launch_process(id, directory, &launch, &mut stdio));
        // The container holds its root file system from here on; where it was mounted for it, nobody needs it.
        let _ = unmount(directory.join("rootfs"), UnmountFlags::DETACH);
        let _ = fs::remove_dir_all(Path::new(OCI_ROOT).join(id));
        let (status, result) = match result {
            Ok(pid) => (Status { state: ContainerState::Running { started_at }, pid: Some(pid) }, Ok(())),
            Err(cause) => {
                stdio.drain();
                let state = ContainerState::Exited {
                    started_at: None,
                    finished_at: component_base::now(),
                    exit_code: 128,
                    reason: "StartError".to_owned(),
                    message: format!("failed to create containerd task: {cause}"),
                };
                (Status { state, pid: None }, Err(cause))
            }
        };
        let container = Self { directory: directory.to_owned(), launch, stdio, status };
        container.record()?;
        Ok((container, result))
    }

    /// The first process, while it runs.
    pub(super) fn pid(&self) -> Option<i32> {
        self.status.pid
    }

    /// Where its files are.
    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn launch(&self) -> &Launch {
        &self.launch
    }

    /// The first process has ended with this wait status.
    pub(super) fn ended(&mut self, wait_status: i32) -> io::Result<()> {
        let exit_code = exit_code(wait_status);
        let reason = match exit_code {
            0 => "Completed",
            _ if self.oom_killed() => "OOMKilled",
            _ => "Error",
        };
        if self.launch.shares_pid {
            // Nothing ends its other processes with it.
            for pid in self.launch.cgroups.iter().flat_map(|dir| processes(dir)) {
                let pid = rustix::process::Pid::from_raw(pid);
                let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
            }
        }
        self.stdio.drain();
        let started_at = match self.status.state {
            ContainerState::Running { started_at } => Some(started_at),
            _ => None,
        };
        let state = ContainerState::Exited {
            started_at,
            finished_at: component_base::now(),
            exit_code,
            reason: reason.to_owned(),
            message: String::new(),
        };
        self.status = Status { state, pid: None };
        self.record()
    }

    /// v1 counts kills in `memory.oom_control`, v2 in `memory.events`.
    fn oom_killed(&self) -> bool {
        let killed = |text: String| {
            text.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count.trim() != "0")
        };
        let files = ["memory.oom_control", "memory.events"];
        let mut paths = self.launch.cgroups.iter().flat_map(|dir| files.map(|file| dir.join(file)));
        paths.any(|path| fs::read_to_string(path).is_ok_and(killed))
    }

    /// Writes the state where the server finds it when it was away.
    fn record(&self) -> io::Result<()> {
        let temporary = self.directory.join("status.json.new");
        let mut file = File::create(&temporary)?;
        file.write_all(&serde_json::to_vec(&self.status)?)?;
        fs::rename(temporary, self.directory.join(STATUS_FILE))
    }
}

/// The exit code as shells tell it: 128 and the signal's number when a signal ended the process.
pub(super) fn exit_code(wait_status: i32) -> i32 {
    if libc::WIFEXITED(wait_status) { libc::WEXITSTATUS(wait_status) } else { 128 + libc::WTERMSIG(wait_status) }
}

fn processes(cgroup: &Path) -> Vec<i32> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

impl Stdio {
    fn open_log(&mut self, launch: &Launch) -> Result<(), String> {
        let open = |path: &PathBuf| LogFile::open(path.clone()).map_err(|err| format!("log {}: {err}", path.display()));
        self.log = launch.log_path.as_ref().map(open).transpose()?;
        Ok(())
    }
}

/// The ends of the streams that are the container's.
struct ChildStreams {
    stdin: OwnedFd,
    stdout: OwnedFd,
    stderr: OwnedFd,
}

fn streams(launch: &Launch, stdio: &mut Stdio) -> io::Result<ChildStreams> {
    let owner = |fd: OwnedFd| {
        // So that a program that is not root may open /dev/stdout.
        fchown(&fd, Some(Uid::from_raw(launch.uid)), Some(Gid::from_raw(launch.gid)))?;
        io::Result::Ok(fd)
    };
    let output = || {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        io::Result::Ok((nonblocking(read)?, owner(reopen_read_write(&write)?.into())?))
    };
    let (read_out, stdout) = output()?;
    let (read_err, stderr) = output()?;
    stdio.stdout = Some(read_out);
    stdio.stderr = Some(read_err);
    let stdin = if launch.stdin {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        stdio.stdin = Some(nonblocking(write)?);
        owner(read)?
    } else {
        File::open("/dev/null")?.into()
    };
    Ok(ChildStreams { stdin, stdout, stderr })
}

fn launch_process(id: &str, directory: &Path, launch: &Launch, stdio: &mut Stdio) -> Result<i32, String> {
    let task = |cause: String| format!("failed to create shim task: OCI runtime create failed: {cause}");
    let io_task = |err: io::Error| task(err.to_string());
    let (mut failures, told) = io::pipe().map_err(io_task)?;
    let rights = Rights::load(directory, launch).map_err(io_task)?;
    let executor = ContainerExecutor { failures: told.as_raw_fd(), rights };
    let mut builder = ContainerBuilder::new(id.to_owned(), SyscallType::default())
        .with_executor(executor)
        .with_root_path(OCI_ROOT)
        .map_err(|err| task(err.to_string()))?;
    let console = if launch.tty {
        let socket = directory.join("console.sock");
        let _ = fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).map_err(io_task)?;
        // youki's library takes the path as it is, so it must not depend on where it is.
        builder = builder.with_console_socket(Some(fs::canonicalize(&socket).map_err(io_task)?));
        Some(listener)
    } else {
        let streams = streams(launch, stdio).map_err(io_task)?;
        builder = builder.with_stdin(streams.stdin).with_stdout(streams.stdout).with_stderr(streams.stderr);
        None
    };
    let directory = fs::canonicalize(directory).map_err(io_task)?;
    let built = builder.as_init(&directory).with_systemd(false).with_detach(true).build();
    drop(told);
    let mut why = || {
        let mut text = String::new();
        let _ = failures.read_to_string(&mut text);
        (!text.is_empty()).then(|| format!("unable to start container process: {text}"))
    };
    let mut container = match built {
        Ok(container) => container,
        Err(err) => return Err(task(why().unwrap_or_else(|| chain(&err)))),
    };
    let pid = container.pid().map(|pid| pid.as_raw()).ok_or_else(|| task("it has no process".to_owned()))?;
    let prepared = adjust_oom_score(pid, launch.oom_score_adj)
        .and_then(|()| console.map_or(Ok(()), |listener| take_terminal(&listener, stdio)));
    let started = prepared.map_err(io_task).and_then(|()| container.start().map_err(|err| task(chain(&err))));
    let started = started.and_then(|()| why().map_or(Ok(pid), |cause| Err(task(cause))));
    if started.is_err() {
        // SAFETY: a plain call; the process is our child and not reaped yet.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
    started
}

/// Lowering needs a right that a nested machine may not have; the container runs all the same.
fn adjust_oom_score(pid: i32, score: i32) -> io::Result<()> {
    match fs::write(format!("/proc/{pid}/oom_score_adj"), score.to_string()) {
        Err(err) if err.kind() == io::ErrorKind::PermissionDenied => {
            static WARNED: std::sync::Once = std::sync::Once::new();
            WARNED.call_once(|| eprintln!("oom_score_adj cannot be lowered to {score} here: {err}"));
            Ok(())
        }
        other => other,
    }
}

/// The container has sent the master of its terminal.
fn take_terminal(listener: &UnixListener, stdio: &mut Stdio) -> io::Result<()> {
    let (socket, _) = listener.accept()?;
    let mut incoming = Incoming::default();
    incoming.receive(&socket)?;
    let master = incoming.take_fd().ok_or_else(|| io::Error::other("no terminal was sent"))?;
    stdio.stdin = Some(nonblocking(master.try_clone()?)?);
    stdio.stdout = Some(nonblocking(master)?);
    Ok(())
}

/// An error with all its sources.
fn chain(err: &dyn std::error::Error) -> String {
    let mut text = err.to_string();
    let mut source = err.source();
    while let Some(err) = source {
        let more = err.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = err.source();
    }
    text
}
