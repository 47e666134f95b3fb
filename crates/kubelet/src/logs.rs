//! Container logs: the CRI format, reading and following, rotation.

pub mod parse;
