//! The demo image `kaji.local/hello-server:1.0`, which every node has without a network.

use cri::images::ImageDefaults;
use cri::images::build::{self, File, ImageSource};
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
    ImageSource {
        references: vec![REFERENCE.into()],
        defaults: ImageDefaults {
            entrypoint: vec!["/hello-server".into()],
            env: vec!["PATH=/".into()],
            working_dir: "/".into(),
            user: "65532:65532".into(),
            stop_signal: "SIGTERM".into(),
            exposed_ports: [("8080/tcp".into(), serde_json::json!({}))].into(),
            ..ImageDefaults::default()
        },
        layers: vec![vec![File::new("hello-server", 0o755, PROGRAM)]],
    }
}
