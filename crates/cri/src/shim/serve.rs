//! The helper's one loop: requests, exits and streams, as they come.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::Instant;

use super::container::{Container, exit_code};
use super::exec::Exec;
use super::protocol::{Incoming, Reply, Request, SOCKET, encode, send};
use super::stdio::Port;
use crate::runtime::ContainerState;

/// Who a descriptor that woke the loop belongs to.
enum Source {
    Listener,
    Signals,
    Connection(u64),
    Stdio(String, Port),
}

struct Connection {
    socket: UnixStream,
    incoming: Incoming,
    role: Role,
}

/// What a connection is for, once it has asked.
enum Role {
    Fresh,
    Subscriber,
    /// Its end kills the program.
    Exec(i32),
    Attached(String),
}

pub(super) struct Server {
    directory: PathBuf,
    listener: UnixListener,
    signals: OwnedFd,
    init_pid: Option<i32>,
    containers: BTreeMap<String, Container>,
    connections: HashMap<u64, Connection>,
    /// Programs of exec sessions, with their connections.
    programs: HashMap<i32, u64>,
    next_connection: u64,
    /// Who asked for the end.
    ending: Option<u64>,
}

impl Server {
    pub(super) fn open(directory: PathBuf, init_pid: Option<i32>) -> io::Result<Self> {
        let _ = fs::remove_file(SOCKET);
        let listener = UnixListener::bind(SOCKET)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            directory,
            listener,
            signals: child_signals()?,
            init_pid,
            containers: BTreeMap::new(),
            connections: HashMap::new(),
            programs: HashMap::new(),
            next_connection: 0,
            ending: None,
        })
    }

    /// Serves until the sandbox is shut down.
    pub(super) fn run(mut self) -> io::Result<()> {
        loop {
            self.reap();
            if self.ending.is_some() && self.containers.values().all(|container| container.pid().is_none()) {
                return self.end();
            }
            for source in self.wait()? {
                match source {
                    Source::Listener => self.accept(),
                    // Reaped at the top of the loop.
                    Source::Signals => self.drain_signals(),
                    Source::Connection(id) => self.receive(id),
                    Source::Stdio(id, port) => {
                        if let Some(container) = self.containers.get_mut(&id) {
                            container.stdio.ready(port);
                            self.release_clients(&id);
                        }
                    }
                }
            }
        }
    }

    /// Waits for something to do.
    fn wait(&mut self) -> io::Result<Vec<Source>> {
        let mut sources = vec![Source::Listener, Source::Signals];
        let entry = |fd: RawFd, events: i16| libc::pollfd { fd, events, revents: 0 };
        let mut fds =
            vec![entry(self.listener.as_raw_fd(), libc::POLLIN), entry(self.signals.as_raw_fd(), libc::POLLIN)];
        for (id, connection) in &self.connections {
            sources.push(Source::Connection(*id));
            fds.push(entry(connection.socket.as_raw_fd(), libc::POLLIN));
        }
        let mut deadline: Option<Instant> = None;
        for (id, container) in &self.containers {
            container.stdio.ports(&mut |port, fd, events| {
                sources.push(Source::Stdio(id.clone(), port));
                fds.push(entry(fd, events));
            });
            deadline = deadline.into_iter().chain(container.stdio.deadline()).min();
        }
        let timeout = deadline.map_or(-1, |at| {
            let left = at.saturating_duration_since(Instant::now()).as_millis() + 1;
            i32::try_from(left).unwrap_or(i32::MAX)
        });
        // SAFETY: the array is as long as said.
        if unsafe { libc::poll(fds.as_mut_ptr(), fds.len() as libc::nfds_t, timeout) } < 0 {
            let err = io::Error::last_os_error();
            return if err.kind() == io::ErrorKind::Interrupted { Ok(Vec::new()) } else { Err(err) };
        }
        if deadline.is_some() {
            let now = Instant::now();
            let ids: Vec<String> = self.containers.keys().cloned().collect();
            for id in ids {
                self.containers.entry(id.clone()).and_modify(|container| container.stdio.cut_off(now));
                self.release_clients(&id);
            }
        }
        Ok(sources.into_iter().zip(fds).filter(|(_, fd)| fd.revents != 0).map(|(source, _)| source).collect())
    }

    fn accept(&mut self) {
        while let Ok((socket, _)) = self.listener.accept() {
            if socket.set_nonblocking(true).is_ok() {
                let connection = Connection { socket, incoming: Incoming::default(), role: Role::Fresh };
                self.connections.insert(self.next_connection, connection);
                self.next_connection += 1;
            }
        }
    }

    fn receive(&mut self, id: u64) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match connection.incoming.receive(&connection.socket) {
            Ok(0) => return self.disconnect(id),
            Ok(_) => {}
            Err(err) if matches!(err.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => return,
            Err(_) => return self.disconnect(id),
        }
        loop {
            let Some(connection) = self.connections.get_mut(&id) else { return };
            match connection.incoming.next::<Request>() {
                Ok(Some((request, fds))) => {
                    if let Err(message) = self.handle(id, request, fds) {
                        self.reply(id, &Reply::Failed { message }, None);
                    }
                }
                Ok(None) => return,
                Err(_) => return self.disconnect(id),
            }
        }
    }

    fn disconnect(&mut self, id: u64) {
        let Some(connection) = self.connections.remove(&id) else { return };
        match connection.role {
            // The program leads a session, so all of it goes.
            Role::Exec(pid) if self.programs.remove(&pid).is_some() => {
                // SAFETY: plain calls on a child that is not reaped yet.
                unsafe { libc::kill(-pid, libc::SIGKILL) };
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            Role::Attached(container) => {
                if let Some(container) = self.containers.get_mut(&container) {
                    container.stdio.detach(id);
                }
            }
            _ => {}
        }
    }

    /// Does what is asked. `Err` becomes [`Reply::Failed`].
    fn handle(&mut self, id: u64, request: Request, fds: Vec<OwnedFd>) -> Result<(), String> {
        match request {
            Request::Subscribe => {
                self.set_role(id, Role::Subscriber);
                self.done(id);
            }
            Request::Start { container } => self.start(id, container)?,
            Request::Signal { container, signal } => {
                if let Some(pid) = self.container(&container)?.pid() {
                    // SAFETY: a plain call on a child that is not reaped yet.
                    unsafe { libc::kill(pid, signal) };
                }
                self.done(id);
            }
            Request::Exec { container, args, tty } => self.exec(id, &container, &args, tty, fds)?,
            Request::Attach { container, stdin, stdout, stderr } => {
                let mut fds = fds.into_iter();
                let mut wanted = |wanted: bool| if wanted { fds.next() } else { None };
                let (stdin, stdout, stderr) = (wanted(stdin), wanted(stdout), wanted(stderr));
                let target = self.container(&container)?;
                if target.pid().is_none() {
                    return Err("container is not running".to_owned());
                }
                target.stdio.attach(id, stdin, stdout, stderr).map_err(|err| err.to_string())?;
                self.set_role(id, Role::Attached(container));
                self.done(id);
            }
            Request::Resize { container, width, height } => {
                self.container(&container)?.stdio.resize(width, height);
                self.done(id);
            }
            Request::ReopenLog { container } => {
                if let Some(log) = &mut self.container(&container)?.stdio.log {
                    log.reopen().map_err(|err| err.to_string())?;
                }
                self.done(id);
            }
            Request::Forget { container } => {
                if let Some(target) = self.containers.remove(&container)
                    && let Some(pid) = target.pid()
                {
                    // SAFETY: a plain call on a child that is not reaped yet.
                    unsafe { libc::kill(pid, libc::SIGKILL) };
                }
                self.done(id);
            }
            Request::Shutdown => {
                for pid in self.containers.values().filter_map(Container::pid).chain(self.init_pid) {
                    // SAFETY: a plain call on a child that is not reaped yet.
                    unsafe { libc::kill(pid, libc::SIGKILL) };
                }
                self.ending = Some(id);
            }
        }
        Ok(())
    }

    fn start(&mut self, id: u64, container: String) -> Result<(), String> {
        if self.ending.is_some() {
            return Err("the sandbox is being stopped".to_owned());
        }
        if self.containers.contains_key(&container) {
            return Err("the container was started before".to_owned());
        }
        let plain = !container.is_empty() && container.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !plain {
            return Err(format!("{container:?} names no container"));
        }
        let (started, result) =
            Container::start(std::path::Path::new(&container)).map_err(|err| format!("{container}: {err}"))?;
        self.containers.insert(container.clone(), started);
        let event = self.publish(&container);
        result?;
        if let Some(event) = event {
            self.reply(id, &event, None);
        }
        Ok(())
    }

    fn exec(
        &mut self,
        id: u64,
        container: &str,
        args: &[String],
        tty: bool,
        streams: Vec<OwnedFd>,
    ) -> Result<(), String> {
        let target = self.container(container)?;
        let exec = Exec {
            directory: target.directory(),
            target: target.pid().ok_or("container is not running")?,
            args,
            tty,
            streams,
            launch: target.launch(),
        };
        let started = exec.start()?;
        self.programs.insert(started.pid, id);
        self.set_role(id, Role::Exec(started.pid));
        self.reply(id, &Reply::Done, started.terminal.as_ref().map(AsFd::as_fd));
        Ok(())
    }

    fn container(&mut self, id: &str) -> Result<&mut Container, String> {
        self.containers.get_mut(id).ok_or_else(|| format!("container {id} is not running"))
    }

    fn set_role(&mut self, id: u64, role: Role) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.role = role;
        }
    }

    fn done(&mut self, id: u64) {
        self.reply(id, &Reply::Done, None);
    }

    /// Answers; who does not read its answers is dropped.
    fn reply(&mut self, id: u64, reply: &Reply, fd: Option<BorrowedFd<'_>>) {
        let Some(connection) = self.connections.get(&id) else { return };
        let sent = encode(reply).and_then(|frame| Ok((send(&connection.socket, &frame, fd.as_slice())?, frame.len())));
        if !sent.is_ok_and(|(sent, length)| sent == length) {
            self.disconnect(id);
        }
    }

    /// Tells every subscriber where a container is; answers what they were told.
    fn publish(&mut self, container: &str) -> Option<Reply> {
        let status = self.containers.get(container)?.status.clone();
        let event = Reply::Event { container: container.to_owned(), status };
        let subscribed = |(_, connection): &(&u64, &Connection)| matches!(connection.role, Role::Subscriber);
        let subscribers: Vec<u64> = self.connections.iter().filter(subscribed).map(|(id, _)| *id).collect();
        for id in subscribers {
            self.reply(id, &event, None);
        }
        Some(event)
    }

    fn drain_signals(&mut self) {
        let mut buffer = [0; size_of::<libc::signalfd_siginfo>() * 8];
        while rustix::io::read(&self.signals, &mut buffer).is_ok_and(|n| n > 0) {}
    }

    /// Takes every child that has ended.
    fn reap(&mut self) {
        loop {
            let mut status = 0;
            // SAFETY: writes the status of a child of ours.
            let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
            if pid <= 0 {
                return;
            }
            self.ended(pid, status);
        }
    }

    fn ended(&mut self, pid: i32, status: i32) {
        if let Some(connection) = self.programs.remove(&pid) {
            self.reply(connection, &Reply::Exited { code: exit_code(status) }, None);
            self.connections.remove(&connection);
            return;
        }
        let container = self.containers.iter_mut().find(|(_, container)| container.pid() == Some(pid));
        if let Some((id, container)) = container {
            if let Err(err) = container.ended(status) {
                eprintln!("recording the end of {id}: {err}");
            }
            let id = id.clone();
            self.publish(&id);
            self.release_clients(&id);
        }
    }

    /// Clients of an ended container that have all of its output learn of the end.
    fn release_clients(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        let ContainerState::Exited { exit_code: code, .. } = container.status.state else { return };
        for connection in container.stdio.finished_clients() {
            self.reply(connection, &Reply::Exited { code }, None);
            self.connections.remove(&connection);
        }
    }

    fn end(mut self) -> io::Result<()> {
        let _ = fs::remove_file(self.directory.join(SOCKET));
        if let Some(id) = self.ending {
            self.done(id);
        }
        // The sockets close with the process, so that whoever waits for the one has the other.
        std::mem::forget(self);
        Ok(())
    }
}

/// SIGCHLD as something to poll.
fn child_signals() -> io::Result<OwnedFd> {
    // SAFETY: the set is filled before it is used, and the descriptor is new.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) == -1 {
            return Err(io::Error::last_os_error());
        }
        match libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}
