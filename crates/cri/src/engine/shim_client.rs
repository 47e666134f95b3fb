//! The server's end of a helper's socket.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncReadExt, Interest};
use tokio::net::UnixStream;
use tokio::process::Command;

use super::ShimCommand;
use crate::runtime::Error;
use crate::shim::protocol::{Incoming, Ready, Reply, Request, SOCKET, encode, send};

/// Starts the helper of the sandbox in `directory`; it stays when we go.
pub(super) async fn spawn(command: &ShimCommand, directory: &Path) -> Result<Ready, Error> {
    let failed = |cause: &dyn std::fmt::Display| Error::failed("failed to start the sandbox's helper", cause);
    let child = Command::new(&command.program)
        .args(&command.args)
        .arg(directory)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|err| failed(&format!("{}: {err}", command.program.display())))?;
    // The helper closes both when it serves, or has ended with its reason on the second.
    let output = child.wait_with_output().await.map_err(|err| failed(&err))?;
    serde_json::from_slice(&output.stdout).map_err(|_| failed(&String::from_utf8_lossy(&output.stderr).trim()))
}

/// A connection to a helper.
pub(super) struct ShimConnection {
    stream: UnixStream,
    incoming: Incoming,
}

impl ShimConnection {
    /// Connects to the helper of the sandbox in `directory`.
    pub(super) async fn open(directory: &Path) -> io::Result<Self> {
        // A socket's address has room for 107 bytes; through the directory's descriptor any path fits.
        let handle = std::fs::File::open(directory)?;
        let stream = UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", handle.as_raw_fd())).await?;
        Ok(Self { stream, incoming: Incoming::default() })
    }

    /// Sends a request; `fds` go with its first byte.
    pub(super) async fn send(&mut self, request: &Request, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let frame = encode(request)?;
        let mut sent = 0;
        while sent < frame.len() {
            self.stream.writable().await?;
            let fds = if sent == 0 { fds } else { &[] };
            match self.stream.try_io(Interest::WRITABLE, || send(&self.stream, &frame[sent..], fds)) {
                Ok(n) => sent += n,
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                Err(err) => return Err(err),
            }
        }
        Ok(())
    }

    /// The next answer with its descriptors; `None` when the helper has closed the connection or is gone.
    pub(super) async fn receive(&mut self) -> io::Result<Option<(Reply, Vec<OwnedFd>)>> {
        loop {
            if let Some(reply) = self.incoming.next()? {
                return Ok(Some(reply));
            }
            self.stream.readable().await?;
            let Self { stream, incoming } = self;
            match stream.try_io(Interest::READABLE, || incoming.receive(&*stream)) {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {}
                Err(err) if err.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(err) => return Err(err),
            }
        }
    }

    /// Asks and takes the first answer; a refusal is an error.
    pub(super) async fn ask(
        &mut self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<(Reply, Vec<OwnedFd>), RequestError> {
        self.send(request, fds).await?;
        match self.receive().await? {
            Some((Reply::Failed { message }, _)) => Err(RequestError::Refused(message)),
            Some(answer) => Ok(answer),
            None => Err(RequestError::Gone),
        }
    }
}

/// Why a helper did not do as asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum RequestError {
    #[error("{0}")]
    Refused(String),
    #[error("the sandbox's helper is gone")]
    Gone,
    #[error("the sandbox's helper does not answer: {0}")]
    Io(#[from] io::Error),
}

/// One request on a connection of its own.
pub(super) async fn ask(directory: &Path, request: &Request) -> Result<Reply, RequestError> {
    Ok(ShimConnection::open(directory).await?.ask(request, &[]).await?.0)
}

/// Ends the helper with all it holds; answers when it is gone. One that is gone already is no error.
pub(super) async fn shut_down(directory: &Path) {
    let Ok(mut connection) = ShimConnection::open(directory).await else { return };
    if connection.send(&Request::Shutdown, &[]).await.is_ok() {
        while let Ok(Some(_)) = connection.receive().await {}
    }
}

/// Reads a stream to its end, keeping at most `limit` bytes.
pub(super) async fn read_limited(mut from: impl tokio::io::AsyncRead + Unpin, limit: usize, into: &mut Vec<u8>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(n) = from.read(&mut buffer).await {
        if n == 0 {
            return;
        }
        let room = limit.saturating_sub(into.len()).min(n);
        into.extend_from_slice(&buffer[..room]);
    }
}
