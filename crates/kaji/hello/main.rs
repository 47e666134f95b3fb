//! `hello-server`: the small HTTP server of the image `kaji.local/hello-server:1.0`.
//!
//! It answers `Hello, world!`, is healthy at `/healthz`, listens on `$PORT` (8080), writes a line a request and, on
//! SIGTERM, lets the requests under way finish before it ends. Built by `build.rs` as a static program of its own, so
//! that the image needs nothing else; hence no library but the standard one.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

static STOPPING: AtomicBool = AtomicBool::new(false);
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// How long connections are still accepted after SIGTERM.
const LAME_DUCK: Duration = Duration::from_millis(500);
/// Most bytes of one line of a request that are read.
const LINE_LIMIT: u64 = 8192;
/// Most header lines of a request that are read.
const HEADER_LIMIT: usize = 100;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

unsafe extern "C" {
    fn signal(number: i32, handler: extern "C" fn(i32)) -> usize;
    fn siginterrupt(number: i32, flag: i32) -> i32;
}

extern "C" fn stop(_: i32) {
    STOPPING.store(true, Ordering::SeqCst);
}

fn main() -> ExitCode {
    let port = std::env::var("PORT").unwrap_or_else(|_| "8080".into());
    let Ok(port) = port.parse::<u16>() else {
        eprintln!("PORT is {port:?}, which is no port number");
        return ExitCode::FAILURE;
    };
    let listener = match TcpListener::bind(("0.0.0.0", port)) {
        Ok(listener) => listener,
        Err(err) => {
            eprintln!("cannot listen on port {port}: {err}");
            return ExitCode::FAILURE;
        }
    };
    for number in [SIGTERM, SIGINT] {
        // SAFETY: the handler only stores into an atomic; interrupting accept() is how the loop below hears of it.
        unsafe {
            signal(number, stop);
            siginterrupt(number, 1);
        }
    }
    println!("hello-server {} listens on port {port}", version());
    while !STOPPING.load(Ordering::SeqCst) {
        // An accept that a signal interrupted, or a client that left early, is looked at again.
        if let Ok(stream) = accept(&listener) {
            spawn(stream);
        }
    }
    // Whoever was sent here just before the stop was known everywhere is still served.
    let until = Instant::now() + LAME_DUCK;
    let _ = listener.set_nonblocking(true);
    while Instant::now() < until {
        match accept(&listener) {
            Ok(stream) => spawn(stream),
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    drop(listener);
    while OPEN.load(Ordering::SeqCst) > 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("hello-server stopped");
    ExitCode::SUCCESS
}

fn spawn(stream: TcpStream) {
    OPEN.fetch_add(1, Ordering::SeqCst);
    std::thread::spawn(move || {
        serve(&stream);
        OPEN.fetch_sub(1, Ordering::SeqCst);
    });
}

/// One accept call: the standard library's retries when a signal interrupts it.
fn accept(listener: &TcpListener) -> std::io::Result<TcpStream> {
    use std::os::fd::{AsRawFd, FromRawFd};
    unsafe extern "C" {
        fn accept(socket: i32, address: *mut u8, length: *mut u32) -> i32;
    }
    // SAFETY: a valid socket and no address asked for; the new descriptor is owned from here on.
    unsafe {
        match accept(listener.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut()) {
            -1 => Err(std::io::Error::last_os_error()),
            fd => Ok(TcpStream::from_raw_fd(fd)),
        }
    }
}

/// Answers the requests of one connection, until the client or a stop ends it.
fn serve(stream: &TcpStream) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let mut reader = BufReader::new(stream);
    while let Some((method, path, keep)) = read_request(&mut reader) {
        let keep = keep && !STOPPING.load(Ordering::SeqCst);
        let (status, body) = match path.split('?').next().unwrap_or_default() {
            "/" => ("200 OK", "Hello, world!\n".to_owned()),
            "/healthz" => ("200 OK", "ok\n".to_owned()),
            "/version" => ("200 OK", format!("{}\n", version())),
            _ => ("404 Not Found", "not found\n".to_owned()),
        };
        println!("{method} {path} {status}");
        let connection = if keep { "keep-alive" } else { "close" };
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n",
            body.len()
        );
        let body = if method == "HEAD" { "" } else { &body };
        let mut out = stream;
        if out.write_all(format!("{head}{body}").as_bytes()).is_err() || !keep {
            return;
        }
    }
}

/// Method, path, and whether the connection is to be kept; `None` at its end or for what is no request.
fn read_request(reader: &mut BufReader<&TcpStream>) -> Option<(String, String, bool)> {
    let first = read_line(reader)?;
    let mut words = first.split_whitespace();
    let (method, path, version) = (words.next()?.to_owned(), words.next()?.to_owned(), words.next()?);
    let mut keep = version == "HTTP/1.1";
    for _ in 0..HEADER_LIMIT {
        let line = read_line(reader)?.to_ascii_lowercase();
        if line.is_empty() {
            return Some((method, path, keep));
        }
        if let Some(value) = line.strip_prefix("connection:") {
            keep = value.trim() == "keep-alive" || (keep && value.trim() != "close");
        }
    }
    None
}

fn read_line(reader: &mut BufReader<&TcpStream>) -> Option<String> {
    use std::io::Read;
    let mut line = String::new();
    match reader.take(LINE_LIMIT).read_line(&mut line) {
        Ok(count) if count > 0 && line.ends_with('\n') => Some(line.trim_end().to_owned()),
        _ => None,
    }
}

fn version() -> String {
    std::env::var("VERSION").unwrap_or_else(|_| "1.0".into())
}
