//! The standard streams of a container: to its log, to whoever is attached, and back.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::io::ioctl_fionbio;
use rustix::termios::{Winsize, tcsetwinsize};

use super::log::{LogFile, Stream};

/// How long a client may take nothing before it is cut off: until then the container waits for it, as with containerd.
const STALL: Duration = Duration::from_secs(10);
const STDIN_LIMIT: usize = 64 * 1024;

/// A descriptor worth waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Port {
    /// Output of the container.
    Output(Stream),
    /// The container takes input.
    Input,
    /// Input of an attached client.
    ClientInput(u64),
    /// An attached client takes output.
    ClientOutput(u64, Stream),
}

/// The streams of one container.
#[derive(Default)]
pub(super) struct Stdio {
    pub(super) log: Option<LogFile>,
    pub(super) stdout: Option<File>,
    pub(super) stderr: Option<File>,
    pub(super) stdin: Option<File>,
    pub(super) stdin_once: bool,
    /// `stdout` is the master of a terminal; `stdin` a second handle of it.
    pub(super) tty: bool,
    typed: Vec<u8>,
    clients: Vec<Client>,
}

struct Client {
    connection: u64,
    stdin: Option<File>,
    stdout: Option<Sink>,
    stderr: Option<Sink>,
}

struct Sink {
    file: File,
    pending: Vec<u8>,
    progress: Instant,
}

impl Sink {
    fn flush(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            match self.file.write(&self.pending) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    self.pending.drain(..n);
                    self.progress = Instant::now();
                }
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        Ok(())
    }
}

impl Client {
    fn sink(&mut self, stream: Stream) -> &mut Option<Sink> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    fn waits(&self) -> bool {
        [&self.stdout, &self.stderr].into_iter().flatten().any(|sink| !sink.pending.is_empty())
    }
}

/// A descriptor without blocking, as a file.
pub(super) fn nonblocking(fd: OwnedFd) -> io::Result<File> {
    ioctl_fionbio(&fd, true)?;
    Ok(File::from(fd))
}

impl Stdio {
    /// Streams that are not open yet.
    pub(super) fn new(tty: bool, stdin_once: bool) -> Self {
        Self { tty, stdin_once, ..Self::default() }
    }

    /// Joins a client to the streams.
    pub(super) fn attach(
        &mut self,
        connection: u64,
        stdin: Option<OwnedFd>,
        stdout: Option<OwnedFd>,
        stderr: Option<OwnedFd>,
    ) -> io::Result<()> {
        let sink = |fd: Option<OwnedFd>| {
            let file = fd.map(nonblocking).transpose()?;
            io::Result::Ok(file.map(|file| Sink { file, pending: Vec::new(), progress: Instant::now() }))
        };
        let stdin = stdin.filter(|_| self.stdin.is_some()).map(nonblocking).transpose()?;
        self.clients.push(Client { connection, stdin, stdout: sink(stdout)?, stderr: sink(stderr)? });
        Ok(())
    }

    /// The client's connection is gone.
    pub(super) fn detach(&mut self, connection: u64) {
        if let Some(at) = self.clients.iter().position(|client| client.connection == connection) {
            let client = self.clients.remove(at);
            self.end_of_input(client.stdin.is_some());
        }
    }

    pub(super) fn resize(&self, columns: u16, rows: u16) {
        if let Some(terminal) = self.stdout.as_ref().filter(|_| self.tty) {
            let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
            let _ = tcsetwinsize(terminal, size);
        }
    }

    /// What to wait for, with the events of poll(2).
    pub(super) fn ports(&self, add: &mut dyn FnMut(Port, RawFd, i16)) {
        // While a client lags, the container's output waits in its pipe.
        let lagging = self.clients.iter().any(Client::waits);
        for (stream, file) in [(Stream::Stdout, &self.stdout), (Stream::Stderr, &self.stderr)] {
            if let Some(file) = file.as_ref().filter(|_| !lagging) {
                add(Port::Output(stream), file.as_raw_fd(), libc::POLLIN);
            }
        }
        if let Some(file) = self.stdin.as_ref().filter(|_| !self.typed.is_empty()) {
            add(Port::Input, file.as_raw_fd(), libc::POLLOUT);
        }
        for client in &self.clients {
            if let Some(file) = client.stdin.as_ref().filter(|_| self.typed.len() < STDIN_LIMIT) {
                add(Port::ClientInput(client.connection), file.as_raw_fd(), libc::POLLIN);
            }
            for (stream, sink) in [(Stream::Stdout, &client.stdout), (Stream::Stderr, &client.stderr)] {
                if let Some(sink) = sink.as_ref().filter(|sink| !sink.pending.is_empty()) {
                    add(Port::ClientOutput(client.connection, stream), sink.file.as_raw_fd(), libc::POLLOUT);
                }
            }
        }
    }

    /// When a lagging client is to be cut off.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let sinks = self.clients.iter().flat_map(|client| [&client.stdout, &client.stderr]).flatten();
        sinks.filter(|sink| !sink.pending.is_empty()).map(|sink| sink.progress + STALL).min()
    }

    /// Cuts off clients that took nothing for too long.
    pub(super) fn cut_off(&mut self, now: Instant) {
        for client in &mut self.clients {
            for stream in [Stream::Stdout, Stream::Stderr] {
                let sink = client.sink(stream);
                if sink.as_ref().is_some_and(|sink| !sink.pending.is_empty() && sink.progress + STALL <= now) {
                    *sink = None;
                }
            }
        }
    }

    pub(super) fn ready(&mut self, port: Port) {
        match port {
            Port::Output(stream) => drop(self.pump(stream)),
            Port::Input => self.type_in(),
            Port::ClientInput(connection) => self.read_client(connection),
            Port::ClientOutput(connection, stream) => {
                let client = self.clients.iter_mut().find(|client| client.connection == connection);
                if let Some(sink) = client.map(|client| client.sink(stream))
                    && sink.as_mut().is_some_and(|sink| sink.flush().is_err())
                {
                    *sink = None;
                }
            }
        }
    }

    /// Takes one piece of output; answers whether there may be more.
    fn pump(&mut self, stream: Stream) -> bool {
        let file = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let Some(open) = file else { return false };
        let mut buffer = [0; 16 * 1024];
        let n = match open.read(&mut buffer) {
            Ok(n) => n,
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => return false,
            Err(err) if err.kind() == io::ErrorKind::Interrupted => return true,
            // EIO is a terminal's way to say that its last user has gone.
            Err(_) => 0,
        };
        if n == 0 {
            *file = None;
            if let Some(log) = &mut self.log {
                log.end(stream, component_base::now());
            }
            return false;
        }
        if let Some(log) = &mut self.log {
            log.write(stream, &buffer[..n], component_base::now());
        }
        for client in &mut self.clients {
            let sink = client.sink(stream);
            let failed = sink.as_mut().is_some_and(|sink| {
                if sink.pending.is_empty() {
                    sink.progress = Instant::now();
                }
                sink.pending.extend_from_slice(&buffer[..n]);
                sink.flush().is_err()
            });
            if failed {
                *sink = None;
            }
        }
        true
    }

    fn type_in(&mut self) {
        let Some(stdin) = &mut self.stdin else { return };
        match stdin.write(&self.typed) {
            Ok(n) => drop(self.typed.drain(..n)),
            Err(err) if matches!(err.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => {
                // The program has closed its stdin.
                self.typed.clear();
                self.stdin = None;
            }
        }
        if self.typed.is_empty() && self.stdin_once && self.clients.iter().all(|client| client.stdin.is_none()) {
            self.end_of_input(true);
        }
    }

    fn read_client(&mut self, connection: u64) {
        let Some(client) = self.clients.iter_mut().find(|client| client.connection == connection) else { return };
        let Some(stdin) = &mut client.stdin else { return };
        let mut buffer = [0; 8 * 1024];
        match stdin.read(&mut buffer) {
            Ok(n) if n > 0 => self.typed.extend_from_slice(&buffer[..n]),
            Err(err) if matches!(err.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return,
            _ => {
                client.stdin = None;
                return self.end_of_input(true);
            }
        }
        self.type_in();
    }

    /// A client's input has ended: with `stdin_once` the container's ends too, once all is typed in.
    fn end_of_input(&mut self, had_input: bool) {
        if had_input && self.stdin_once && self.typed.is_empty() && !self.tty {
            self.stdin = None;
        }
    }

    /// The container has ended: takes what is left in its pipes and closes them.
    pub(super) fn drain(&mut self) {
        while self.pump(Stream::Stdout) {}
        while self.pump(Stream::Stderr) {}
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some(log) = &mut self.log {
                log.end(stream, component_base::now());
            }
        }
        self.stdout = None;
        self.stderr = None;
        self.stdin = None;
        self.log = None;
    }

    /// Clients that have all output of an ended container; they are forgotten.
    pub(super) fn finished_clients(&mut self) -> Vec<u64> {
        if self.stdout.is_some() || self.stderr.is_some() {
            return Vec::new();
        }
        let done: Vec<u64> = self.clients.iter().filter(|client| !client.waits()).map(|c| c.connection).collect();
        self.clients.retain(Client::waits);
        done
    }
}
