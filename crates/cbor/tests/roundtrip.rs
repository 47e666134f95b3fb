//! Upstream's samples of every kind survive CBOR unchanged.
//!
//! The samples are found as `protobuf`'s tests find them: in the folder that `KAJI_ROUNDTRIP_SAMPLES` names, in
//! `../shared/api/roundtrip` beside the checkout, or, with fewer kinds, in the samples of the crate `protobuf`.

use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = std::env::var_os("KAJI_ROUNDTRIP_SAMPLES").map(PathBuf::from);
    let beside = [here.join("../../../shared/api/roundtrip"), here.join("../../../../shared/api/roundtrip")];
    let mut known = shared.into_iter().chain(beside);
    known.find(|folder| folder.is_dir()).unwrap_or_else(|| here.join("../protobuf/tests/samples"))
}

#[test]
fn samples_survive_cbor() {
    let mut checked = 0;
    for entry in std::fs::read_dir(folder()).expect("the samples are there") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let json = std::fs::read(&path).expect("readable");
        let value: serde_json::Value = serde_json::from_slice(&json).expect("JSON");
        let bytes = cbor::encode(&value);
        assert_eq!(cbor::decode(&bytes).as_ref(), Ok(&value), "{}", path.display());
        assert_eq!(cbor::encode_json(&json).as_ref(), Ok(&bytes), "{}", path.display());
        checked += 1;
    }
    assert!(checked > 0, "some sample is there");
}
