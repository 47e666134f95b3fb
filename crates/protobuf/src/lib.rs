//! `application/vnd.kubernetes.protobuf`: what typed Go clients send and like to be answered
//! (upstream: apimachinery/pkg/runtime/serializer/protobuf, the generated.proto files of k8s.io/api).
//!
//! One [table](table) of field numbers, made by `cargo run -p xtask -- protobuf`, serves both directions: [`decode`]
//! makes the JSON object that the same client would have sent as JSON, [`encode`] goes over JSON text once and writes
//! messages. A message that the table does not know is an error: an empty object in its place would lose what the
//! client meant.
//!
//! It never knows HTTP or a store. Start reading at [`encode`].

mod decode;
mod encode;
mod envelope;
mod scalar;
mod table;
mod wire;

pub use decode::decode;
pub use envelope::{List, encode, watch_event};
pub use table::knows;

/// The media type.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What every object begins with.
const MAGIC: &[u8] = b"k8s\0";

/// Why bytes are no object, or an object cannot be put into bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// The body does not begin as it should.
    #[error("provided data does not appear to be a protobuf message, expected prefix {MAGIC:?}")]
    Magic,
    /// The bytes end early or break the encoding.
    #[error("proto: malformed message at byte {0}")]
    Malformed(usize),
    /// A kind that the table does not have.
    #[error("no kind {0:?} is registered for protobuf")]
    Unknown(String),
    /// Text that is not UTF-8, or JSON inside that is not JSON.
    #[error("proto: field {0} has an invalid value")]
    Value(String),
    /// Messages nest too deeply.
    #[error("proto: message nests too deeply")]
    Depth,
    /// JSON that is not of the kind it should be.
    #[error("proto: the object cannot be encoded: {0}")]
    Json(String),
}
