//! What a node reads: the kubelet's paths and queries, log files, names of images.

use cri::images::Reference;
use http::Method;
use kubelet::logs::parse;
use kubelet::server::logs;
use kubelet::server::route::Route;

use super::text;
use crate::target::{Memory, Target};

const MEMORY: Memory = Memory { base: 64 << 10, per_byte: 128 };

pub(crate) static KUBELET: Target = Target::new("kubelet", check_kubelet)
    .memory(MEMORY)
    .words(&[
        "/containerLogs/",
        "/exec/",
        "/attach/",
        "/portForward/",
        "/run/",
        "/images/",
        "/stats/summary",
        "tailLines=",
        "limitBytes=",
        "sinceSeconds=",
        "sinceTime=2026-01-02T03:04:05Z",
        "follow=true",
        "stream=Stdout",
        "&",
        "%",
        "2026-01-02T03:04:05.678901234Z stdout F ",
        " stderr P ",
        "\n",
    ])
    .longest(1024);

pub(crate) static IMAGE_REFERENCE: Target = Target::new("image_reference", check_reference)
    .memory(MEMORY)
    .words(&[
        "docker.io/",
        "library/",
        "localhost:5000/",
        "@sha256:",
        ":latest",
        "[::1]:5000/",
        "index.docker.io/",
        "..",
        "__",
        "--",
        "/",
        ":",
        "@",
    ])
    .longest(512);

/// A path, a query and a line of a log are read or refused.
fn check_kubelet(input: &[u8]) {
    if let Some(entry) = parse::line(input) {
        assert!(entry.time.len() + entry.stream.len() + entry.content.len() <= input.len());
    }
    let Some(text) = text(input) else { return };
    let (path, query) = text.split_once('?').map_or((text, None), |(path, query)| (path, Some(query)));
    for method in [Method::GET, Method::POST] {
        let _ = Route::of(&method, path);
    }
    if let Ok(options) = logs::parse(query) {
        assert!(!(options.follow && options.previous), "what has ended is not followed");
    }
}

/// A normalised name is itself.
fn check_reference(input: &[u8]) {
    let Some(text) = text(input) else { return };
    let Ok(reference) = Reference::parse(text) else { return };
    let written = reference.to_string();
    let again = Reference::parse(&written).unwrap_or_else(|error| panic!("{text:?} became {written:?}: {error}"));
    assert_eq!(again, reference, "{text:?} became {written:?}");
    assert!(!reference.selector().is_empty());
}
