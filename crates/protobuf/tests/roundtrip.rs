//! Upstream's samples of every served kind survive JSON, YAML and protobuf unchanged in meaning.
//!
//! The samples are those of k8s.io/api/testdata/HEAD: `<group>.<version>.<Kind>.json`, `.yaml` and `.pb`, in the folder
//! that `KAJI_ROUNDTRIP_SAMPLES` names, in `../shared/api/roundtrip` beside the checkout, or, with fewer kinds, in
//! `tests/samples`.

use std::path::{Path, PathBuf};

use api::SCHEMAS;
use apimachinery::{GroupVersionKind, Object, schema};
use serde_json::Value;

fn folder() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shared = std::env::var_os("KAJI_ROUNDTRIP_SAMPLES").map(PathBuf::from);
    let beside = [here.join("../../../shared/api/roundtrip"), here.join("../../../../shared/api/roundtrip")];
    let mut known = shared.into_iter().chain(beside);
    known.find(|folder| folder.is_dir()).unwrap_or_else(|| here.join("tests/samples"))
}

/// The object in the form that the server keeps; nothing may be refused or unknown on the way.
fn canonical(value: Value, gvk: &GroupVersionKind, what: &str) -> Object {
    let mut object = Object::from_value(value).unwrap_or_else(|| panic!("{what} is an object"));
    let root = SCHEMAS.of(gvk).expect("a served kind");
    let problems = schema::decode(&SCHEMAS.set, root, &mut object).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(problems, [], "{what}");
    object
}

#[test]
fn samples_survive_every_encoding() {
    let mut checked = 0;
    for entry in std::fs::read_dir(folder()).expect("the samples are there") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let name = path.display().to_string();
        let json = std::fs::read(&path).expect("readable");
        let parsed = apimachinery::codec::json::decode(&json).expect("JSON");
        let text = |field: &str| parsed.value[field].as_str().unwrap_or_default().to_owned();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let gvk = GroupVersionKind::from_api_version(&api_version, &kind);
        if api::catalogue::by_kind(&gvk).is_none() {
            continue;
        }
        let expected = canonical(parsed.value.clone(), &gvk, &name);
        assert_eq!(Some(&expected), Object::from_value(parsed.value).as_ref(), "{name}: JSON");

        let yaml = std::fs::read(path.with_extension("yaml")).expect("beside the JSON");
        let parsed = apimachinery::codec::yaml::decode(&yaml).expect("YAML");
        assert_eq!(canonical(parsed.value, &gvk, &name), expected, "{name}: YAML");
        let written = apimachinery::codec::yaml::encode(&expected.clone().into_value()).expect("writes");
        let again = apimachinery::codec::yaml::decode(written.as_ref()).expect("YAML").value;
        assert_eq!(Object::from_value(again).as_ref(), Some(&expected), "{name}: our YAML");

        let theirs = std::fs::read(path.with_extension("pb")).expect("beside the JSON");
        let decoded = protobuf::decode(&theirs).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(canonical(decoded, &gvk, &name), expected, "{name}: protobuf");

        let stored = serde_json::to_vec(&expected).expect("JSON");
        let ours = protobuf::encode(&api_version, &kind, &stored).unwrap_or_else(|error| panic!("{name}: {error}"));
        let decoded = protobuf::decode(&ours).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(canonical(decoded, &gvk, &name), expected, "{name}: our protobuf");
        checked += 1;
    }
    assert!(checked > 0, "some sample is of a served kind");
    println!("{checked} samples");
}
