//! What a process between fork and exec does, in containers and exec sessions alike.

use std::collections::HashMap;
use std::convert::Infallible;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use libcontainer::oci_spec::runtime::Spec;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use rustix::fs::{Access, AtFlags, CWD, accessat};

use super::rights::Rights;

/// Marks every descriptor from `first` on to be closed at exec; in the helper at its start, that is all it inherited.
pub(super) fn close_from(first: u32) {
    // SAFETY: only descriptors that nobody in this process knows of.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}

/// A fork that stays: with its own session and name, and nothing of the helper's open.
pub(super) fn detach(name: &str) -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    let name = CString::new(name)?;
    rustix::thread::set_name(&name)?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)?;
    close_from(3);
    std::mem::forget(null);
    // SAFETY: a signal disposition is plain data.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    Ok(())
}

/// Ends a fork without running what its parent registered for its own end.
pub(super) fn exit(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// The helper blocks SIGCHLD and Rust ignores SIGPIPE; a program expects neither.
pub(super) fn reset_signals() {
    // SAFETY: the set is filled before it is used.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
    }
}

/// Where `name` is, worded as runc does when it is nowhere.
pub(super) fn find_executable(name: &str, path: &str) -> Result<PathBuf, String> {
    let runs = |file: &Path| file.is_file() && accessat(CWD, file, Access::EXEC_OK, AtFlags::EACCESS).is_ok();
    if name.contains('/') {
        let file = Path::new(name);
        return match file.metadata() {
            Ok(_) if runs(file) => Ok(file.to_owned()),
            Ok(meta) if meta.is_dir() => Err(format!("exec: {name:?}: is a directory")),
            Ok(_) => Err(format!("exec: {name:?}: permission denied")),
            Err(err) => Err(format!("exec: {name:?}: stat {name}: {}", plain(&err))),
        };
    }
    let places: Vec<PathBuf> =
        path.split(':').filter(|dir| !dir.is_empty()).map(|dir| Path::new(dir).join(name)).collect();
    match places.iter().find(|file| runs(file)) {
        Some(file) => Ok(file.clone()),
        None if places.iter().any(|file| file.is_file()) => Err(format!("exec: {name:?}: permission denied")),
        None => Err(format!("exec: {name:?}: executable file not found in $PATH")),
    }
}

/// An error as C programs print it, without Rust's "(os error N)".
fn plain(err: &io::Error) -> String {
    let text = err.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}

/// Becomes the program; answers only why it could not.
pub(super) fn execute(args: &[String], env: &[String]) -> Result<Infallible, String> {
    let name = args.first().ok_or("exec: no command")?;
    let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
    let file = find_executable(name, path)?;
    let strings =
        |list: &[String]| list.iter().map(|text| CString::new(text.as_bytes())).collect::<Result<Vec<_>, _>>();
    let file = CString::new(file.into_os_string().into_vec()).map_err(|err| err.to_string())?;
    let args = strings(args).map_err(|err| err.to_string())?;
    let env = strings(env).map_err(|err| err.to_string())?;
    let pointers = |list: &[CString]| {
        list.iter().map(|text| text.as_ptr()).chain(std::iter::once(std::ptr::null())).collect::<Vec<_>>()
    };
    // SAFETY: both arrays end with a null pointer and their strings live until execve has failed.
    unsafe { libc::execve(file.as_ptr(), pointers(&args).as_ptr(), pointers(&env).as_ptr()) };
    let err = io::Error::last_os_error();
    Err(format!("exec {}: {}", file.to_string_lossy(), plain(&err)))
}

/// Runs a container's program at the end of youki's preparations, telling through a pipe why it could not. The pipe
/// closes at exec, which is how the helper knows that the program runs.
#[derive(Clone, Debug)]
pub(super) struct ContainerExecutor {
    /// Inherited by the fork; the helper closes its own end after it.
    pub(super) failures: RawFd,
    pub(super) rights: Rights,
}

impl ContainerExecutor {
    fn tell(&self, cause: &str) {
        // SAFETY: the helper keeps the descriptor open until youki's library has returned.
        let pipe = unsafe { BorrowedFd::borrow_raw(self.failures) };
        let _ = rustix::io::write(pipe, cause.as_bytes());
    }
}

impl Executor for ContainerExecutor {
    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let process = spec.process().as_ref();
        let args = process.and_then(|process| process.args().as_deref()).unwrap_or_default();
        let env = process.and_then(|process| process.env().as_deref()).unwrap_or_default();
        let path = env.iter().find_map(|entry| entry.strip_prefix("PATH=")).unwrap_or_default();
        let found =
            args.first().ok_or_else(|| "exec: no command".to_owned()).and_then(|name| find_executable(name, path));
        found.map(drop).map_err(|cause| {
            self.tell(&cause);
            ExecutorValidationError::ArgValidationError(cause)
        })
    }

    /// The environment goes to exec as it is configured.
    fn setup_envs(&self, _: HashMap<String, String>) -> Result<(), libcontainer::workload::ExecutorSetEnvsError> {
        Ok(())
    }

    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let process = spec.process().as_ref();
        let args = process.and_then(|process| process.args().as_deref()).unwrap_or_default();
        let env = process.and_then(|process| process.env().as_deref()).unwrap_or_default();
        reset_signals();
        match self.rights.lay_down().and_then(|()| execute(args, env)) {
            Ok(never) => match never {},
            Err(cause) => {
                self.tell(&cause);
                Err(ExecutorError::Other(cause))
            }
        }
    }
}

/// Opens a pipe anew for reading and writing: who holds it so never sees the other side gone, which lets a container
/// write on when its helper has died.
pub(super) fn reopen_read_write(fd: &impl AsRawFd) -> io::Result<File> {
    let path = PathBuf::from(std::ffi::OsStr::from_bytes(format!("/proc/self/fd/{}", fd.as_raw_fd()).as_bytes()));
    File::options().read(true).write(true).open(path)
}
