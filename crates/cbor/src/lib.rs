//! `application/cbor` as the API speaks it (KEP-4222; upstream: apimachinery/pkg/runtime/serializer/cbor).
//!
//! The same objects as in JSON, in the data items of RFC 8949: what is written is deterministic (section 4.2.1) and
//! begins with the self-described tag; texts are byte strings, as upstream writes them, and both kinds of string are
//! read. What JSON cannot say (NaN, other keys than texts, big integers, `undefined`) is refused, and so is a key that is
//! there twice. No length that a peer announces is believed before its bytes are there.
//!
//! It never knows HTTP, a kind or a schema. A byte string that a peer marks as "later base64" (tag 22, as upstream marks
//! every `[]byte`) becomes base64 text, as in JSON; what is written carries that text, which upstream's decoders take for
//! base64 by default. Start reading at [`decode()`].

mod decode;
mod encode;

pub use decode::decode;
pub use encode::{List, encode, encode_json, watch_event};

/// The media type of one object.
pub const MEDIA_TYPE: &str = "application/cbor";

/// The media type of a watch: one data item after the other (RFC 8742).
pub const SEQUENCE_MEDIA_TYPE: &str = "application/cbor-seq";

/// The media type of a configuration to apply.
pub const APPLY_MEDIA_TYPE: &str = "application/apply-patch+cbor";

/// What everything written begins with: the head of tag 55799.
pub const SELF_DESCRIBED: [u8; 3] = [0xd9, 0xd9, 0xf7];

/// The most levels of arrays, maps and tags, as many as JSON documents may have.
pub const MAX_DEPTH: usize = 127;

/// Why bytes are no object, or JSON cannot be written. The words are those of upstream's library (fxamacker/cbor).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CborError {
    /// The bytes end early.
    #[error("unexpected EOF")]
    Eof,
    /// The bytes go on after the data item.
    #[error("cbor: {bytes} bytes of extraneous data starting at index {index}")]
    Extraneous {
        /// How many.
        bytes: usize,
        /// From where on.
        index: usize,
    },
    /// The bytes break the encoding.
    #[error("cbor: invalid data item at index {0}: {1}")]
    Malformed(usize, String),
    /// Items nest too deeply.
    #[error("cbor: exceeded max nested level {MAX_DEPTH}")]
    Depth,
    /// A map has a key twice.
    #[error("cbor: found duplicate map key {key:?} at map element index {index}")]
    Duplicate {
        /// The key.
        key: String,
        /// Which entry of its map comes second.
        index: usize,
    },
    /// A key that is no text.
    #[error("cbor: cannot unmarshal {0} into Go value of type string")]
    Key(&'static str),
    /// A number outside of 64 bits with sign.
    #[error("cbor: cannot unmarshal {kind} into Go value of type int64 ({number} overflows Go's int64)")]
    Overflow {
        /// Positive or negative.
        kind: &'static str,
        /// The number.
        number: i128,
    },
    /// What JSON cannot say.
    #[error("cbor: data item of cbor type {kind} is not accepted by protocol: {cause}")]
    NotAccepted {
        /// The type of the item.
        kind: &'static str,
        /// What it is.
        cause: String,
    },
    /// Text that is not UTF-8.
    #[error("cbor: invalid UTF-8 string")]
    Utf8,
    /// A tag around something that it does not go with.
    #[error("cbor: tag number {tag} must be followed by {wanted}, got {found}")]
    Tag {
        /// The number.
        tag: u64,
        /// What it goes with.
        wanted: &'static str,
        /// What came.
        found: &'static str,
    },
    /// A point in time that is none.
    #[error("cbor: cannot set {0:?} for time.Time")]
    Time(String),
    /// Bytes that are no JSON.
    #[error("cbor: the object cannot be encoded: {0}")]
    Json(String),
}
