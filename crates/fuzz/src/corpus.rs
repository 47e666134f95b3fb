//! The kept inputs: `corpus/<target>/<any name>`, one file each.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the inputs of a target are kept.
pub fn folder(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target)
}

/// The kept inputs of a target with their names, in order.
pub fn read(target: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(folder(target))? {
        let entry = entry?;
        kept.push((entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path())?));
    }
    kept.sort();
    Ok(kept)
}

/// Writes down an input that failed; answers where.
pub fn keep_failure(target: &str, input: &[u8]) -> io::Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz-failures").join(target);
    fs::create_dir_all(&folder)?;
    // FNV-1a: a name that the same input always gets.
    let hash = input
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    let path = folder.join(format!("{hash:016x}"));
    fs::write(&path, input)?;
    Ok(path)
}
