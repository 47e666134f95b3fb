//! A machine of one's own: a network namespace without a way out, a home directory, a kubeconfig.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::{Background, Run};

/// A network namespace, a home and the programs under test. Everything goes with it.
#[derive(Debug)]
pub struct Machine {
    netns: File,
    dir: TempDir,
    kaji: PathBuf,
}

impl Machine {
    /// A machine whose `kaji` is this binary.
    pub fn new(kaji: impl Into<PathBuf>) -> Self {
        let dir = tempfile::Builder::new().prefix("kaji-test-").tempdir().expect("a temporary directory");
        Self { netns: lonely_netns(), dir, kaji: kaji.into() }
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir().join("kubeconfig")
    }

    /// Where its clusters live.
    pub fn home(&self) -> PathBuf {
        self.dir().join("home")
    }

    /// A file with this text in its directory.
    pub fn file(&self, name: &str, text: &str) -> String {
        let path = self.dir().join(name);
        fs::write(&path, text).expect("the directory can be written");
        path.display().to_string()
    }

    /// A program that will run on this machine.
    pub fn command(&self, program: impl AsRef<Path>, args: &[&str]) -> Command {
        let mut command = Command::new(program.as_ref());
        command.args(args).current_dir(self.dir()).stdin(Stdio::null());
        command.env("HOME", self.dir()).env("KAJI_HOME", self.home()).env("KUBECONFIG", self.kubeconfig());
        let netns = self.netns.as_raw_fd();
        // SAFETY: setns is a plain system call, and the descriptor outlives the spawn that `self` is borrowed for.
        unsafe {
            command.pre_exec(move || match libc::setns(netns, libc::CLONE_NEWNET) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            });
        }
        command
    }

    /// Runs a program to its end.
    pub fn run(&self, program: impl AsRef<Path>, args: &[&str]) -> Run {
        self.finish(self.command(program, args), args)
    }

    /// Runs a program to its end with this on its standard input.
    pub fn run_with_input(&self, program: impl AsRef<Path>, args: &[&str], input: &str) -> Run {
        let path = self.dir().join(format!("stdin-{:?}", std::thread::current().id()));
        fs::write(&path, input).expect("the directory can be written");
        let mut command = self.command(program, args);
        command.stdin(File::open(&path).expect("just written"));
        self.finish(command, args)
    }

    /// Runs a prepared command to its end.
    pub fn finish(&self, mut command: Command, args: &[&str]) -> Run {
        let line = format!("{} {}", command.get_program().to_string_lossy(), args.join(" "));
        let output = command.output().unwrap_or_else(|err| panic!("cannot run {line}: {err}"));
        Run::new(line, output)
    }

    /// Starts a program whose lines are read as they come.
    pub fn spawn(&self, program: impl AsRef<Path>, args: &[&str]) -> Background {
        let mut command = self.command(program, args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Background::new(command.spawn().unwrap_or_else(|err| panic!("cannot start {args:?}: {err}")))
    }

    /// Runs `kaji`.
    pub fn kaji(&self, args: &[&str]) -> Run {
        self.run(&self.kaji, args)
    }

    /// Does `work` on a thread inside the machine's network.
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                rustix::thread::move_into_link_name_space(
                    self.netns.as_fd(),
                    Some(rustix::thread::LinkNameSpaceType::Network),
                )
                .expect("the namespace can be entered");
                work()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

/// A network namespace with nothing but `lo`; it lives as long as the file is open.
fn lonely_netns() -> File {
    let thread = std::thread::spawn(|| {
        // SAFETY: only this thread moves, and it ends right after.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.expect("tests run as root");
        bring_up_lo();
        File::open("/proc/thread-self/ns/net").expect("the thread's namespace")
    });
    thread.join().expect("the namespace is made")
}

fn bring_up_lo() {
    // SAFETY: a valid request on a valid socket; `lo` is there in every network namespace.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        assert!(socket >= 0, "a socket");
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
        let status = libc::ioctl(socket, libc::SIOCSIFFLAGS, &request);
        libc::close(socket);
        assert_eq!(status, 0, "lo comes up");
    }
}
