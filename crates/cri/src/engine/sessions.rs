//! Programs and clients that join a running container.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::io::ioctl_fionbio;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::records::Container;
use super::shim_client::{self, RequestError, ShimConnection, read_limited};
use super::{Inner, state_word};
use crate::runtime::{ContainerState, Error, ExecIo, ExecRequest, TerminalSize};
use crate::shim::protocol::{Reply, Request};

/// As the CRI's limit for the output of ExecSync.
const OUTPUT_LIMIT: usize = 16 << 20;
/// How long output may trail its program, held open by something that the program left behind.
const TRAILING: Duration = Duration::from_secs(2);

impl Inner {
    pub(super) async fn exec_sync(
        &self,
        id: &str,
        command: &[String],
        timeout_s: u64,
    ) -> Result<(i32, Vec<u8>, Vec<u8>), Error> {
        let run = async {
            let (stdout, stderr) = (Pipe::from_container()?, Pipe::from_container()?);
            let null = std::fs::File::open("/dev/null").map_err(session)?;
            let streams = [null.as_fd(), stdout.theirs.as_fd(), stderr.theirs.as_fd()];
            let (mut connection, _) = self.start_program(id, command, false, &streams).await?;
            let (from_stdout, from_stderr) = (stdout.reader()?, stderr.reader()?);
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let output = async {
                tokio::join!(
                    read_limited(from_stdout, OUTPUT_LIMIT, &mut out),
                    read_limited(from_stderr, OUTPUT_LIMIT, &mut err)
                );
            };
            let code = exit_and_output(&mut connection, output).await?;
            Ok((code, out, err))
        };
        if timeout_s == 0 {
            return run.await;
        }
        // Giving up closes the connection, at which the helper kills the program.
        match tokio::time::timeout(Duration::from_secs(timeout_s), run).await {
            Ok(result) => result,
            Err(_) => Err(Error::Timeout(timeout_s)),
        }
    }

    pub(super) async fn exec(&self, request: ExecRequest, io: ExecIo) -> Result<i32, Error> {
        if request.tty {
            return self.exec_terminal(request, io).await;
        }
        let (stdout, stderr) = (Pipe::from_container()?, Pipe::from_container()?);
        let stdin = if request.stdin && io.stdin.is_some() { Some(Pipe::to_container()?) } else { None };
        let null = std::fs::File::open("/dev/null").map_err(session)?;
        let input = stdin.as_ref().map_or(null.as_fd(), |pipe| pipe.theirs.as_fd());
        let streams = [input, stdout.theirs.as_fd(), stderr.theirs.as_fd()];
        let (mut connection, _) = self.start_program(&request.container_id, &request.command, false, &streams).await?;
        let to_stdin = stdin.map(Pipe::writer).transpose()?;
        let (from_stdout, from_stderr) = (stdout.reader()?, stderr.reader()?);
        let input = copy_input(io.stdin, to_stdin);
        let output = async { tokio::join!(copy_output(from_stdout, io.stdout), copy_output(from_stderr, io.stderr)) };
        let code = beside(input, exit_and_output(&mut connection, output)).await?;
        Ok(code)
    }

    async fn exec_terminal(&self, request: ExecRequest, io: ExecIo) -> Result<i32, Error> {
        let (mut connection, master) = self.start_program(&request.container_id, &request.command, true, &[]).await?;
        let master = master.ok_or_else(|| session(io::Error::other("the helper sent no terminal")))?;
        ioctl_fionbio(&master, true).map_err(|err| session(err.into()))?;
        let size = master.try_clone().map_err(session)?;
        let input = master.try_clone().map_err(session)?;
        let input = pipe::Sender::from_owned_fd_unchecked(input).map_err(session)?;
        let output = pipe::Receiver::from_owned_fd_unchecked(master).map_err(session)?;
        let resized = apply_sizes(io.resize, size);
        let typed = copy_input(io.stdin.filter(|_| request.stdin), Some(input));
        let code =
            beside(resized, beside(typed, exit_and_output(&mut connection, copy_output(output, io.stdout)))).await?;
        Ok(code)
    }

    pub(super) async fn attach(&self, id: &str, io: ExecIo) -> Result<(), Error> {
        let container = self.running(id)?;
        let (tty, takes_stdin) = {
            let record = container.record.lock();
            (record.config.tty, record.config.stdin)
        };
        let stdin = if takes_stdin && io.stdin.is_some() { Some(Pipe::to_container()?) } else { None };
        let stdout = if io.stdout.is_some() { Some(Pipe::from_container()?) } else { None };
        // A terminal has no stderr.
        let stderr = if io.stderr.is_some() && !tty { Some(Pipe::from_container()?) } else { None };
        let request = Request::Attach {
            container: id.to_owned(),
            stdin: stdin.is_some(),
            stdout: stdout.is_some(),
            stderr: stderr.is_some(),
        };
        let fds: Vec<BorrowedFd<'_>> =
            [&stdin, &stdout, &stderr].into_iter().flatten().map(|pipe| pipe.theirs.as_fd()).collect();
        let mut connection = self.connect(&container).await?;
        connection.ask(&request, &fds).await.map_err(|err| Error::failed("failed to attach to container", err))?;
        drop(fds);
        let to_stdin = stdin.map(Pipe::writer).transpose()?;
        let from_stdout = stdout.map(Pipe::reader).transpose()?;
        let from_stderr = stderr.map(Pipe::reader).transpose()?;
        let resize = async {
            let Some(mut sizes) = io.resize else { return };
            while let Some(TerminalSize { width, height }) = sizes.recv().await {
                let request = Request::Resize { container: id.to_owned(), width, height };
                let _ = shim_client::ask(&container.sandbox.directory, &request).await;
            }
        };
        let output = async {
            tokio::join!(copy_optional(from_stdout, io.stdout), copy_optional(from_stderr, io.stderr));
        };
        let input = copy_input(io.stdin, to_stdin);
        beside(resize, beside(input, exit_and_output(&mut connection, output))).await.map(drop)
    }

    fn running(&self, id: &str) -> Result<std::sync::Arc<Container>, Error> {
        let container = self.container(id)?;
        match container.state() {
            ContainerState::Running { .. } => Ok(container),
            state => Err(Error::WrongState { id: id.to_owned(), state: state_word(&state) }),
        }
    }

    async fn connect(&self, container: &Container) -> Result<ShimConnection, Error> {
        let connection = ShimConnection::open(&container.sandbox.directory).await;
        connection.map_err(|err| Error::failed("connecting to the sandbox's helper", err))
    }

    /// Starts a program; its connection tells when it ends, and ends it when dropped.
    async fn start_program(
        &self,
        id: &str,
        command: &[String],
        tty: bool,
        streams: &[BorrowedFd<'_>],
    ) -> Result<(ShimConnection, Option<OwnedFd>), Error> {
        let container = self.running(id)?;
        let mut connection = self.connect(&container).await?;
        let request = Request::Exec { container: id.to_owned(), args: command.to_vec(), tty };
        match connection.ask(&request, streams).await {
            Ok((_, fds)) => Ok((connection, fds.into_iter().next())),
            // Worded as containerd does, which kubectl's users know.
            Err(RequestError::Refused(cause)) => Err(Error::failed(
                "failed to exec in container",
                format!(
                    "failed to start exec: OCI runtime exec failed: exec failed: unable to start container process: \
                     {cause}: unknown"
                ),
            )),
            Err(err) => Err(Error::failed("failed to exec in container", err)),
        }
    }
}

fn session(err: io::Error) -> Error {
    Error::failed("setting up streams", err)
}

/// A pipe with one end for the container.
struct Pipe {
    ours: OwnedFd,
    theirs: OwnedFd,
}

impl Pipe {
    fn from_container() -> Result<Self, Error> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC).map_err(|err| session(err.into()))?;
        Ok(Self { ours, theirs })
    }

    fn to_container() -> Result<Self, Error> {
        let (theirs, ours) = pipe_with(PipeFlags::CLOEXEC).map_err(|err| session(err.into()))?;
        Ok(Self { ours, theirs })
    }

    /// Our end, to read; the container's end is the container's alone from here on.
    fn reader(self) -> Result<pipe::Receiver, Error> {
        pipe::Receiver::from_owned_fd(self.ours).map_err(session)
    }

    /// Our end, to write.
    fn writer(self) -> Result<pipe::Sender, Error> {
        pipe::Sender::from_owned_fd(self.ours).map_err(session)
    }
}

/// Runs `side` as long as `main` does.
async fn beside<T>(side: impl Future<Output = ()>, main: impl Future<Output = T>) -> T {
    tokio::pin!(main);
    tokio::select! {
        result = &mut main => result,
        () = side => main.await,
    }
}

/// Waits for the end of the program and of its output.
async fn exit_and_output<T>(connection: &mut ShimConnection, output: impl Future<Output = T>) -> Result<i32, Error> {
    tokio::pin!(output);
    let mut drained = false;
    let code = loop {
        tokio::select! {
            _ = &mut output, if !drained => drained = true,
            reply = connection.receive() => match reply {
                Ok(Some((Reply::Exited { code }, _))) => break code,
                Ok(Some(_)) => {}
                Ok(None) => return Err(Error::failed("waiting for the program", "the sandbox's helper is gone")),
                Err(err) => return Err(Error::failed("waiting for the program", err)),
            },
        }
    };
    if !drained {
        let _ = tokio::time::timeout(TRAILING, output).await;
    }
    Ok(code)
}

/// Copies what the client types, then closes the container's stdin.
async fn copy_input(from: Option<Box<dyn AsyncRead + Send + Unpin>>, to: Option<pipe::Sender>) {
    let (Some(mut from), Some(mut to)) = (from, to) else { return };
    let _ = tokio::io::copy(&mut from, &mut to).await;
}

/// Copies output as it comes. Without a client it is read and dropped, so that the program does not stall.
async fn copy_output(mut from: impl AsyncRead + Unpin, to: Option<Box<dyn AsyncWrite + Send + Unpin>>) {
    let mut to = to;
    let mut buffer = vec![0; 16 * 1024];
    // A terminal ends with an error.
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        if let Some(open) = &mut to
            && (open.write_all(&buffer[..n]).await.is_err() || open.flush().await.is_err())
        {
            to = None;
        }
    }
    if let Some(mut open) = to {
        let _ = open.shutdown().await;
    }
}

async fn copy_optional(from: Option<pipe::Receiver>, to: Option<Box<dyn AsyncWrite + Send + Unpin>>) {
    if let Some(from) = from {
        copy_output(from, to).await;
    }
}

/// Tells a terminal each new size.
async fn apply_sizes(sizes: Option<mpsc::Receiver<TerminalSize>>, terminal: OwnedFd) {
    let Some(mut sizes) = sizes else { return };
    while let Some(TerminalSize { width, height }) = sizes.recv().await {
        let size = Winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
        let _ = tcsetwinsize(&terminal, size);
    }
}
