//! hostPath volumes: what must be at the path, or is made there (upstream: pkg/volume/hostpath/host_path.go).

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Checks or makes what `kind` asks for at `path`. The error is upstream's text.
pub fn prepare(path: &Path, kind: &str) -> Result<(), String> {
    let found = fs::metadata(path);
    let shown = path.display();
    let wrong = |what: &str| Err(format!("hostPath type check failed: {shown} is not a {what}"));
    match (kind, found) {
        ("", _) => Ok(()),
        ("DirectoryOrCreate", Err(err)) if err.kind() == io::ErrorKind::NotFound => {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true).mode(0o755).create(path).map_err(|err| err.to_string())
        }
        ("FileOrCreate", Err(err)) if err.kind() == io::ErrorKind::NotFound => {
            let mut options = fs::OpenOptions::new();
            options.write(true).create(true).truncate(false).mode(0o644);
            options.open(path).map(drop).map_err(|err| err.to_string())
        }
        (_, Err(err)) if err.kind() == io::ErrorKind::NotFound => {
            let what = kind_name(kind);
            Err(format!("hostPath type check failed: {shown} is not a {what}"))
        }
        (_, Err(err)) => Err(format!("hostPath type check failed: {shown}: {err}")),
        ("Directory" | "DirectoryOrCreate", Ok(metadata)) if !metadata.is_dir() => wrong("directory"),
        ("File" | "FileOrCreate", Ok(metadata)) if !metadata.is_file() => wrong("file"),
        ("Socket", Ok(metadata)) if !metadata.file_type().is_socket() => wrong("socket file"),
        ("CharDevice", Ok(metadata)) if !metadata.file_type().is_char_device() => wrong("character device"),
        ("BlockDevice", Ok(metadata)) if !metadata.file_type().is_block_device() => wrong("block device"),
        (_, Ok(_)) => Ok(()),
    }
}

fn kind_name(kind: &str) -> &'static str {
    match kind {
        "File" => "file",
        "Socket" => "socket file",
        "CharDevice" => "character device",
        "BlockDevice" => "block device",
        _ => "directory",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_checked_and_made() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        assert!(prepare(&at("missing"), "").is_ok());
        assert!(prepare(&at("missing"), "Directory").is_err_and(|text| text.ends_with("is not a directory")));
        assert!(prepare(&at("a/b"), "DirectoryOrCreate").is_ok() && at("a/b").is_dir());
        assert!(prepare(&at("f"), "FileOrCreate").is_ok() && at("f").is_file());
        assert!(prepare(&at("f"), "Directory").is_err());
        assert!(prepare(&at("f"), "Socket").is_err_and(|text| text.ends_with("is not a socket file")));
        assert!(prepare(Path::new("/dev/null"), "CharDevice").is_ok());
    }
}
