//! The demo image `kaji.local/hello-server:1.0`, which every node has without a network.

use cri::images::build::{self, Content, File, ImageSource};
use cri::{Error, Image, ImageStore};

/// Its name.
pub const REFERENCE: &str = "kaji.local/hello-server:1.0";
/// The static program that `build.rs` made of `hello/main.rs`.
const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hello-server"));

/// Puts the image into a node's store.
pub async fn ensure(store: &ImageStore) -> Result<Image, Error> {
    build::into_store(store, source()).await
}

fn source() -> ImageSource {
    let file = File { path: "hello-server".into(), mode: 0o755, content: Content::Bytes(PROGRAM.to_vec()) };
    ImageSource {
        references: vec![REFERENCE.into()],
        entrypoint: vec!["/hello-server".into()],
        env: vec!["PATH=/".into()],
        working_dir: "/".into(),
        user: "65532:65532".into(),
        stop_signal: "SIGTERM".into(),
        exposed_ports: vec!["8080/tcp".into()],
        layers: vec![vec![file]],
        ..ImageSource::default()
    }
}
