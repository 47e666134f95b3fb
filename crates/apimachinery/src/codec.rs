//! Bytes to objects and back: JSON and YAML, with limits and with every duplicate key told.

pub mod json;
