//! The helper of one pod: it holds the pod's processes and outlives the server.
//!
//! ```text
//! <run-dir>/<sandbox>/shim.json            what the helper is told (see [`protocol::ShimConfig`])
//!                     shim.sock            where it serves
//!                     shim.log             what went wrong
//!                     <container>/config.json   OCI configuration     (server)
//!                                 launch.json   the rest              (server)
//!                                 status.json   state, exit code      (helper)
//!                                 rootfs/       where the layers are mounted until the container has them
//! ```
//! It is one thread without a runtime, because it forks: youki's library in a process with threads deadlocks.
//! It is the subreaper of its pod, so every orphan ends here and every exit code is seen.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use rustix::process::{chdir, setsid, umask};

mod child;
mod container;
mod exec;
mod log;
mod namespaces;
pub mod protocol;
mod rights;
mod serve;
mod stdio;

use protocol::{Ready, SANDBOX_FILE, ShimConfig};

/// Runs the helper; `args` are those after the subcommand's name: the sandbox's directory.
///
/// It answers on standard output once it serves, and goes on in the background. It must be called before the process
/// has a second thread.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(directory) = args.into_iter().next().map(PathBuf::from) else {
        eprintln!("usage: kaji shim DIRECTORY");
        return ExitCode::FAILURE;
    };
    match run(directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("{err}");
            ExitCode::FAILURE
        }
    }
}

fn run(directory: PathBuf) -> io::Result<()> {
    child::close_from(3);
    umask(rustix::fs::Mode::from_raw_mode(0o022));
    chdir(&directory).map_err(|err| io::Error::other(format!("{}: {err}", directory.display())))?;
    let config: ShimConfig = serde_json::from_slice(&fs::read(SANDBOX_FILE)?)?;

    // The parent's end hands us to init or the nearest subreaper.
    // SAFETY: there is one thread, so the child may go on as any program does.
    match unsafe { libc::fork() } {
        -1 => return Err(io::Error::last_os_error()),
        0 => {}
        _ => return Ok(()),
    }
    setsid()?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    // Groups of the server must not reach containers that name none of their own.
    rustix::thread::set_thread_groups(&[])?;
    // As containerd's: the kernel looks elsewhere for memory. Where it may not be lowered it stays.
    let _ = fs::write("/proc/self/oom_score_adj", "-998");
    let init_pid = namespaces::set_up(&config)?;
    let server = serve::Server::open(directory, init_pid)?;

    let ready = Ready { pid: rustix::process::getpid().as_raw_nonzero().get(), init_pid };
    let mut stdout = io::stdout();
    writeln!(stdout, "{}", serde_json::to_string(&ready)?)?;
    stdout.flush()?;
    let null = File::open("/dev/null")?;
    let log = File::options().create(true).append(true).open("shim.log")?;
    rustix::stdio::dup2_stdin(null.as_fd())?;
    rustix::stdio::dup2_stdout(log.as_fd())?;
    rustix::stdio::dup2_stderr(log.as_fd())?;
    drop((null, log));
    server.run()
}
