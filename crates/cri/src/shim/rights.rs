//! The last step before a program runs: its seccomp filter and its capabilities.

use std::fs;
use std::io;
use std::path::Path;

use libcontainer::capabilities::{drop_privileges, reset_effective};
use libcontainer::oci_spec::runtime::LinuxCapabilities;
use libcontainer::syscall::syscall::create_syscall;
use serde_json::json;

use super::protocol::{Launch, SECCOMP_FILE};

/// What is left to a program of a container.
#[derive(Clone, Debug)]
pub(super) struct Rights {
    capabilities: LinuxCapabilities,
    no_new_privs: bool,
    /// A BPF program of 8-byte instructions.
    filter: Option<Vec<u8>>,
}

impl Rights {
    /// Those of the container of `directory`.
    pub(super) fn load(directory: &Path, launch: &Launch) -> io::Result<Self> {
        let names = &launch.capabilities;
        let sets = json!({"bounding": names, "effective": names, "permitted": names});
        let filter = match fs::read(directory.join(SECCOMP_FILE)) {
            Ok(filter) => Some(filter),
            Err(err) if err.kind() == io::ErrorKind::NotFound => None,
            Err(err) => return Err(err),
        };
        Ok(Self { capabilities: serde_json::from_value(sets)?, no_new_privs: launch.no_new_privs, filter })
    }

    /// Takes everything else from this process, which has its user already and all capabilities still.
    ///
    /// Without `no_new_privs` only a privileged process may load a filter, so it comes before the capabilities go; with
    /// it, after, so that the filter need not allow what takes them.
    pub(super) fn lay_down(&self) -> Result<(), String> {
        if self.no_new_privs {
            rustix::thread::set_no_new_privs(true).map_err(|err| err.to_string())?;
        } else {
            self.load_filter()?;
        }
        let syscall = create_syscall();
        reset_effective(syscall.as_ref()).map_err(|err| err.to_string())?;
        drop_privileges(&self.capabilities, syscall.as_ref()).map_err(|err| err.to_string())?;
        if self.no_new_privs { self.load_filter() } else { Ok(()) }
    }

    fn load_filter(&self) -> Result<(), String> {
        let Some(filter) = &self.filter else { return Ok(()) };
        let instructions = filter.len() / size_of::<libc::sock_filter>();
        let length = u16::try_from(instructions).map_err(|_| "the seccomp filter is too long".to_owned())?;
        // The kernel copies the program, and wants no alignment beyond that of bytes.
        let program = libc::sock_fprog { len: length, filter: filter.as_ptr().cast_mut().cast() };
        // SAFETY: the program is as long as said and lives until the call has returned.
        match unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &program) } {
            0 => Ok(()),
            _ => Err(format!("loading the seccomp filter: {}", io::Error::last_os_error())),
        }
    }
}
