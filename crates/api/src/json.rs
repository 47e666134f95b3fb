//! Fields of JSON objects: see [`apimachinery::json`].

pub(crate) use apimachinery::json::{Read, Write};
