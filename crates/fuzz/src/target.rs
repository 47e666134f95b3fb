//! [`Target`]: one parser, and what must hold for any input.

use crate::targets;

/// How much memory an input may take: so much at any rate, and so much for each of its bytes.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    /// At any rate.
    pub base: usize,
    /// For each byte of the input.
    pub per_byte: usize,
}

impl Memory {
    /// What an input of this length may take.
    pub fn of(self, length: usize) -> usize {
        self.base + self.per_byte * length
    }
}

/// One parser.
#[derive(Debug)]
pub struct Target {
    /// Its name, that of its folder in the corpus.
    pub name: &'static str,
    /// Reads the input and panics where something does not hold.
    pub check: fn(&[u8]),
    /// What it may take.
    pub memory: Memory,
    /// Words that mutations put in.
    pub words: &'static [&'static str],
    /// The longest input that is made.
    pub longest: usize,
}

impl Target {
    /// A target of inputs of at most 4,096 bytes, which may take what a tree of JSON values does.
    pub(crate) const fn new(name: &'static str, check: fn(&[u8])) -> Self {
        Self { name, check, memory: TREE, words: &[], longest: 4096 }
    }

    pub(crate) const fn memory(self, memory: Memory) -> Self {
        Self { memory, ..self }
    }

    pub(crate) const fn words(self, words: &'static [&'static str]) -> Self {
        Self { words, ..self }
    }

    pub(crate) const fn longest(self, longest: usize) -> Self {
        Self { longest, ..self }
    }
}

/// A tree of JSON values takes the most where maps have one entry each: a node of eleven places for eight bytes of text.
const TREE: Memory = Memory { base: 64 << 10, per_byte: 512 };

/// All of them.
pub static TARGETS: &[&Target] = &[
    &targets::selectors::LABELS,
    &targets::selectors::FIELDS,
    &targets::scalars::QUANTITY,
    &targets::scalars::DURATION,
    &targets::documents::JSON,
    &targets::documents::YAML,
    &targets::documents::OBJECT,
    &targets::documents::DEFINITION,
    &targets::patches::JSON_PATCH,
    &targets::patches::MERGE,
    &targets::patches::STRATEGIC,
    &targets::managed_fields::FIELDS_V1,
    &targets::managed_fields::APPLY,
    &targets::binary::PROTOBUF,
    &targets::binary::CBOR,
    &targets::streams::SPDY_FRAMES,
    &targets::streams::SPDY_HEADERS,
    &targets::streams::WEBSOCKET,
    &targets::expressions::JSON_PATH,
    &targets::expressions::CEL,
    &targets::requests::REQUEST,
    &targets::requests::CONTINUE,
    &targets::node::KUBELET,
    &targets::node::IMAGE_REFERENCE,
];

/// The target of this name.
pub fn find(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name).copied()
}
