//! One netlink socket: send a batch, read its acknowledgements.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use crate::message::{self, Batch, Received};

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLMSGERR_ATTR_MSG: u16 = 1;
const SOL_NETLINK: libc::c_int = 270;
const NETLINK_CAP_ACK: libc::c_int = 10;
const NETLINK_EXT_ACK: libc::c_int = 11;
/// The kernel answers within `send`; this only keeps a broken one from hanging us.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why a netlink request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No socket could be made.
    #[error("open a netlink socket")]
    Open(#[source] io::Error),
    /// The kernel did not take the request.
    #[error("send {bytes} bytes to the kernel")]
    Send {
        /// How much was sent.
        bytes: usize,
        /// The cause.
        #[source]
        err: io::Error,
    },
    /// No answer could be read.
    #[error("read the kernel's answer")]
    Receive(#[source] io::Error),
    /// The kernel refused a message.
    #[error("{what}: the kernel refused{}", if detail.is_empty() { String::new() } else { format!(" ({detail})") })]
    Refused {
        /// What was asked for.
        what: String,
        /// The kernel's own words, where it has any.
        detail: String,
        /// The error number.
        #[source]
        err: io::Error,
    },
    /// The table changed while it was read.
    #[error("the kernel's table changed while it was read")]
    Interrupted,
    /// A network namespace could not be entered.
    #[error("enter network namespace {path}")]
    Enter {
        /// Its file.
        path: String,
        /// The cause.
        #[source]
        err: io::Error,
    },
}

impl Error {
    /// The error number of a refusal.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { err, .. } => err.raw_os_error(),
            _ => None,
        }
    }
}

/// A refusal of one message of a batch.
#[derive(Debug)]
pub struct Refusal {
    /// The message's sequence number.
    pub sequence: u32,
    /// The error number.
    pub err: io::Error,
    /// The kernel's own words, or "".
    pub detail: String,
}

/// A netlink socket of the network namespace in which it was opened.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

impl Socket {
    /// A socket for links, addresses, routes and neighbours.
    pub fn route() -> Result<Self, Error> {
        Self::open(None)
    }

    /// A socket for nftables and connection tracking.
    pub fn netfilter() -> Result<Self, Error> {
        Self::open(Some(netlink::NETFILTER))
    }

    fn open(protocol: Option<rustix::net::Protocol>) -> Result<Self, Error> {
        let open = || -> io::Result<OwnedFd> {
            let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, protocol)?;
            rustix::net::bind(&fd, &SocketAddrNetlink::new(0, 0))?;
            sockopt::set_socket_timeout(&fd, Timeout::Recv, Some(PATIENCE))?;
            enable(&fd, NETLINK_CAP_ACK)?;
            enable(&fd, NETLINK_EXT_ACK)?;
            Ok(fd)
        };
        Ok(Self { fd: open().map_err(Error::Open)?, buffer: vec![0; 32 << 10] })
    }

    /// Sends the batch in one go and reads until message `until` was acknowledged or refused.
    /// Returns every refusal, in the kernel's order.
    pub fn transact(&mut self, batch: &Batch, until: u32) -> Result<Vec<Refusal>, Error> {
        self.send(batch.bytes())?;
        let mut refusals = Vec::new();
        let mut done = false;
        while !done {
            let length = self.receive()?;
            for message in message::split(&self.buffer[..length]).filter(|message| message.kind == NLMSG_ERROR) {
                done |= message.sequence == until;
                refusals.extend(refusal(&message));
            }
            // A refused batch may never reach the message that was to be acknowledged.
            done |= !refusals.is_empty() && self.is_drained()?;
        }
        Ok(refusals)
    }

    /// Sends one request and hands every answer's type and body to `each`.
    pub fn dump(&mut self, request: &Batch, mut each: impl FnMut(u16, &[u8])) -> Result<(), Error> {
        self.send(request.bytes())?;
        let mut interrupted = false;
        loop {
            let length = self.receive()?;
            for message in message::split(&self.buffer[..length]) {
                interrupted |= message.flags & NLM_F_DUMP_INTR != 0;
                match message.kind {
                    NLMSG_DONE if interrupted => return Err(Error::Interrupted),
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        return match refusal(&message) {
                            None => Ok(()),
                            Some(Refusal { err, detail, .. }) => {
                                Err(Error::Refused { what: "read a table".into(), detail, err })
                            }
                        };
                    }
                    kind => each(kind, message.body),
                }
            }
        }
    }

    /// Sends a request for one object and hands its answer to `read`; `None` when the kernel has no such object.
    pub fn get<T>(&mut self, request: &Batch, read: impl FnOnce(&[u8]) -> Option<T>) -> Result<Option<T>, Error> {
        self.send(request.bytes())?;
        let length = self.receive()?;
        let Some(message) = message::split(&self.buffer[..length]).next() else { return Ok(None) };
        if message.kind != NLMSG_ERROR {
            return Ok(read(message.body));
        }
        match refusal(&message) {
            None => Ok(None),
            Some(Refusal { err, .. }) if matches!(err.raw_os_error(), Some(libc::ENODEV | libc::ENOENT)) => Ok(None),
            Some(Refusal { err, detail, .. }) => Err(Error::Refused { what: "read an object".into(), detail, err }),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let needed = bytes.len() * 2;
        let send = || -> io::Result<()> {
            if sockopt::socket_send_buffer_size(&self.fd)? < needed {
                sockopt::set_socket_send_buffer_size_force(&self.fd, needed)?;
            }
            rustix::net::send(&self.fd, bytes, SendFlags::empty())?;
            Ok(())
        };
        send().map_err(|err| Error::Send { bytes: bytes.len(), err })
    }

    fn receive(&mut self) -> Result<usize, Error> {
        let received = rustix::io::retry_on_intr(|| {
            rustix::net::recv(&self.fd, &mut self.buffer[..], RecvFlags::empty()).map(|(read, _)| read)
        });
        received.map_err(|errno| Error::Receive(errno.into()))
    }

    fn is_drained(&mut self) -> Result<bool, Error> {
        match rustix::net::recv(&self.fd, &mut [0_u8; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Ok(_) => Ok(false),
            Err(rustix::io::Errno::AGAIN) => Ok(true),
            Err(errno) => Err(Error::Receive(errno.into())),
        }
    }
}

fn enable(fd: &OwnedFd, option: libc::c_int) -> io::Result<()> {
    let one: libc::c_int = 1;
    // SAFETY: the pointer and the length describe `one`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(fd.as_raw_fd(), SOL_NETLINK, option, (&raw const one).cast(), size_of_val(&one) as u32)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads `struct nlmsgerr`; `None` for an acknowledgement.
fn refusal(message: &Received<'_>) -> Option<Refusal> {
    let errno = i32::from_ne_bytes(message.body.get(0..4)?.try_into().ok()?);
    if errno == 0 {
        return None;
    }
    let mut detail = String::new();
    if message.flags & NLM_F_ACK_TLVS != 0 {
        let original = u32::from_ne_bytes(message.body.get(4..8)?.try_into().ok()?) as usize;
        let skip = if message.flags & NLM_F_CAPPED != 0 { message::HEADER } else { original };
        let attributes = message.body.get(4 + skip.next_multiple_of(4)..).unwrap_or_default();
        if let Some(text) = message::attribute(attributes, NLMSGERR_ATTR_MSG) {
            detail = String::from_utf8_lossy(text.strip_suffix(b"\0").unwrap_or(text)).into_owned();
        }
    }
    Some(Refusal { sequence: message.sequence, err: io::Error::from_raw_os_error(-errno), detail })
}
