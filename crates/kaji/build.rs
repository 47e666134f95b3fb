//! Builds `hello/main.rs` into a static program that `src/hello.rs` embeds, and has the linker save space.

use std::path::PathBuf;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=hello/main.rs");
    let rustc = std::env::var_os("RUSTC").expect("cargo sets RUSTC");
    let target = std::env::var("TARGET").expect("cargo sets TARGET");
    if target == "x86_64-unknown-linux-gnu" {
        // Functions with the same machine code are kept once, and generic code makes many of them. The linker that
        // comes with Rust for this target can do so; others may use another one.
        println!("cargo::rustc-link-arg-bins=-Wl,--icf=all");
        // A position-independent program lists each address in its data; the packed form takes a bit instead of 24 bytes.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("hello-server");
    let status = Command::new(rustc)
        .args(["--edition", "2024", "--crate-name", "hello_server", "--crate-type", "bin"])
        .args(["-C", "opt-level=z", "-C", "panic=abort", "-C", "strip=symbols", "-C", "target-feature=+crt-static"])
        .arg("--target")
        .arg(target)
        .arg("-o")
        .arg(&out)
        .arg("hello/main.rs")
        .status();
    assert!(matches!(status, Ok(status) if status.success()), "hello/main.rs could not be built: {status:?}");
}
