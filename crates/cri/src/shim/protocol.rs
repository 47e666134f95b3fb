//! What server and helper say to each other: JSON behind a length, file descriptors beside it.
//!
//! Each request has its own connection, and the end of the connection is the end of what it asked for: a client that
//! goes away takes its exec session along. One more connection subscribes to the containers' states; its end tells the
//! server that the helper is gone.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize};

use crate::runtime::ContainerState;

/// Name of the socket in a sandbox's directory.
pub const SOCKET: &str = "shim.sock";
/// What the helper is told about its sandbox, in its directory.
pub const SANDBOX_FILE: &str = "shim.json";
/// What the helper is told about a container, in the container's directory.
pub const LAUNCH_FILE: &str = "launch.json";
/// The container's seccomp filter as a BPF program, in its directory; missing where it has none.
pub const SECCOMP_FILE: &str = "seccomp.bpf";
/// Where a container's state is recorded, in the container's directory.
pub const STATUS_FILE: &str = "status.json";

const FRAME_LIMIT: usize = 4 << 20;
const FDS: usize = 3;

/// The sandbox's part that is the helper's.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ShimConfig {
    /// Host name of the new UTS namespace; none for the node's.
    pub hostname: Option<String>,
    /// A new IPC namespace.
    pub new_ipc: bool,
    /// A PID namespace shared by all containers, with an init of its own.
    pub shared_pid: bool,
    /// The pod's network namespace, entered for its kernel parameters only.
    pub netns: Option<PathBuf>,
    /// Kernel parameters.
    pub sysctls: BTreeMap<String, String>,
    /// `cgroup.procs` files that take the init of a shared PID namespace.
    pub init_cgroups: Vec<PathBuf>,
}

/// What the helper answers on its standard output once it serves.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Ready {
    /// The helper.
    pub pid: i32,
    /// The init of the shared PID namespace.
    pub init_pid: Option<i32>,
}

/// A container's part that is not in its OCI configuration.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Launch {
    /// The log; none writes none.
    pub log_path: Option<PathBuf>,
    /// Give it a terminal.
    pub tty: bool,
    /// Keep stdin open.
    pub stdin: bool,
    /// Close stdin after the first attach.
    pub stdin_once: bool,
    /// Owner of its standard streams.
    pub uid: u32,
    /// Group of its standard streams.
    pub gid: u32,
    /// Preference of the OOM killer.
    pub oom_score_adj: i32,
    /// Its control group's directories.
    pub cgroups: Vec<PathBuf>,
    /// It has no PID namespace of its own, so its processes outlive its first.
    pub shares_pid: bool,
    /// What its processes may do, as `CAP_...`.
    pub capabilities: Vec<String>,
    /// Its processes gain no rights by exec.
    pub no_new_privs: bool,
}

/// A container's recorded state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Where it is in its life.
    pub state: ContainerState,
    /// Its first process, while it runs.
    pub pid: Option<i32>,
}

/// What the server asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// [`Reply::Event`]s from now on.
    Subscribe,
    /// Makes and starts the container whose directory has this name; the answer is its [`Reply::Event`].
    Start {
        /// Its id.
        container: String,
    },
    /// Sends a signal to the container's first process.
    Signal {
        /// Its id.
        container: String,
        /// The signal's number.
        signal: i32,
    },
    /// Runs a program; without a terminal, with stdin, stdout and stderr as passed.
    Exec {
        /// In this container.
        container: String,
        /// Program and arguments.
        args: Vec<String>,
        /// Answer the master of a new terminal instead of taking streams.
        tty: bool,
    },
    /// Joins the first process's streams: stdin, stdout and stderr as passed, those that are asked for.
    Attach {
        /// To this container.
        container: String,
        /// A pipe to read is passed.
        stdin: bool,
        /// A pipe to write is passed.
        stdout: bool,
        /// Another pipe to write is passed.
        stderr: bool,
    },
    /// Tells the terminal its size.
    Resize {
        /// Of this container.
        container: String,
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// Opens the log file anew.
    ReopenLog {
        /// Of this container.
        container: String,
    },
    /// Forgets a container, killing it when it runs.
    Forget {
        /// Its id.
        container: String,
    },
    /// Kills everything, answers, and ends the helper.
    Shutdown,
}

/// What the helper answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Reply {
    /// It is done, or has begun and goes on until the connection ends. A terminal's master is passed.
    Done,
    /// It could not be done.
    Failed {
        /// Why.
        message: String,
    },
    /// The program of an exec, or the container of an attach, has ended.
    Exited {
        /// Exit code.
        code: i32,
    },
    /// A container's state has changed.
    Event {
        /// Its id.
        container: String,
        /// Where it is now.
        status: Status,
    },
}

/// `message` behind its length.
pub fn encode<T: Serialize>(message: &T) -> io::Result<Vec<u8>> {
    let body = serde_json::to_vec(message)?;
    let mut frame = u32::try_from(body.len()).map_err(io::Error::other)?.to_le_bytes().to_vec();
    frame.extend(body);
    Ok(frame)
}

/// Sends as much of `bytes` as fits, `fds` with the first byte.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::other("too many file descriptors"));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

/// Messages coming in on one connection.
#[derive(Debug, Default)]
pub struct Incoming {
    bytes: Vec<u8>,
    fds: Vec<OwnedFd>,
}

impl Incoming {
    /// Reads once; answers how many bytes came, 0 at the end.
    pub fn receive(&mut self, socket: impl AsFd) -> io::Result<usize> {
        let mut buffer = [0; 8192];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(socket, &mut [IoSliceMut::new(&mut buffer)], &mut control, flags)?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        self.bytes.extend_from_slice(&buffer[..received.bytes]);
        Ok(received.bytes)
    }

    /// What came so far.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The first descriptor that came, whatever the bytes said.
    pub fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fds.pop()
    }

    /// The next whole message, with every descriptor that came so far.
    pub fn next<T: for<'de> Deserialize<'de>>(&mut self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let Some(length) = self.bytes.first_chunk::<4>().map(|length| u32::from_le_bytes(*length) as usize) else {
            return Ok(None);
        };
        if length > FRAME_LIMIT {
            return Err(io::Error::other("message too long"));
        }
        let Some(body) = self.bytes.get(4..4 + length) else { return Ok(None) };
        let message = serde_json::from_slice(body)?;
        self.bytes.drain(..4 + length);
        Ok(Some((message, std::mem::take(&mut self.fds))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn a_message_arrives_with_its_descriptors() {
        let (left, right) = std::os::unix::net::UnixStream::pair().expect("a pair of sockets");
        let (mut reader, writer) = io::pipe().expect("a pipe");
        let request = Request::Attach { container: "c".to_owned(), stdin: false, stdout: true, stderr: false };
        let frame = encode(&request).expect("it encodes");
        assert_eq!(send(&left, &frame, &[writer.as_fd()]).expect("it is sent"), frame.len());
        drop(writer);
        let mut incoming = Incoming::default();
        incoming.receive(&right).expect("it is received");
        let (received, fds) = incoming.next::<Request>().expect("it is whole").expect("it is there");
        assert!(matches!(received, Request::Attach { stdout: true, .. }));
        drop(fds.into_iter().next().expect("one descriptor"));
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).expect("the last writer is gone");
    }
}
