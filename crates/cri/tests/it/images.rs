//! The image store: imports, whiteouts, hostile archives, removal.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use component_base::Scope;
use cri::images::build::{self, Content, File, ImageSource};
use cri::images::{ImageDefaults, RegistryConfig};
use cri::{Error, ImageService, ImageStore, RuntimeService};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::node::{BUSYBOX, Node, busybox_layer, open_store, shell};

fn source(references: &[&str], layers: Vec<Vec<File>>) -> ImageSource {
    let defaults = ImageDefaults { cmd: vec!["/bin/sh".to_owned()], user: "web".to_owned(), ..Default::default() };
    ImageSource { references: references.iter().map(|name| (*name).to_owned()).collect(), defaults, layers }
}

/// A store of its own.
struct Shop {
    directory: tempfile::TempDir,
    store: ImageStore,
    scope: Scope,
}

impl Shop {
    async fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("kaji-img-").tempdir().expect("a directory");
        let scope = Scope::root();
        let store = open_store(directory.path(), &scope).await;
        Self { directory, store, scope }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn count(&self, what: &str) -> usize {
        fs::read_dir(self.path("data/images").join(what)).expect("the store").count()
    }

    /// Nothing half made is left.
    fn assert_clean(&self, layers: usize) {
        assert_eq!((self.count("tmp"), self.count("layers")), (0, layers));
    }
}

#[tokio::test]
async fn an_archive_brings_several_images_that_share_layers() {
    let shop = Shop::new().await;
    let base = vec![File::new("base", 0o644, "base\n")];
    let sources = [
        source(&["one:1", "kaji.test/one"], vec![base.clone(), vec![File::new("one", 0o600, "1")]]),
        source(&["two:2"], vec![base]),
    ];
    let archive = shop.path("images.tar");
    build::save_archive(&archive, &sources).expect("an archive");
    for _ in 0..2 {
        let images = shop.store.import(&archive).await.expect("an import");
        assert_eq!(images.len(), 2);
        assert_eq!(images[0].repo_tags, ["docker.io/library/one:1", "kaji.test/one:latest"]);
        assert_eq!((images[0].size_bytes, images[0].user.as_str()), (6, "web"));
        shop.assert_clean(2);
    }
    let one = shop.store.image_status("one:1").await.expect("a name").expect("it is there");
    for name in ["docker.io/library/one:1", "kaji.test/one", &one.id, &one.id[7..20]] {
        assert_eq!(shop.store.image_status(name).await.expect("a name").expect(name).id, one.id);
    }
    assert!(shop.store.image_status("one:3").await.expect("a name").is_none());
    assert!(matches!(shop.store.image_status("ONE").await, Err(Error::InvalidImageName { .. })));
    assert_eq!(shop.store.image_fs_usage().await.expect("usage").0, 6);

    // What one image still needs stays.
    shop.store.remove_image("one:1").await.expect("it goes");
    shop.assert_clean(1);
    shop.store.remove_image("one:1").await.expect("gone is gone");
    // The store is the same after a restart.
    let again = open_store(shop.directory.path(), &shop.scope).await;
    assert_eq!(again.list_images().await.expect("a list").len(), 1);
    again.remove_image("two:2").await.expect("it goes");
    shop.assert_clean(0);
}

#[tokio::test]
async fn compressed_archives_and_layouts_are_read() {
    let shop = Shop::new().await;
    let archive = shop.path("images.tar");
    build::save_archive(&archive, &[source(&["packed:1"], vec![vec![File::new("f", 0o644, "x")]])])
        .expect("an archive");
    let plain = fs::read(&archive).expect("the archive");
    for (name, bytes) in
        [("images.tar.gz", gzip(&plain)), ("images.tar.zst", zstd::encode_all(&plain[..], 1).expect("zstd"))]
    {
        fs::write(shop.path(name), bytes).expect("written");
        let images = shop.store.import(&shop.path(name)).await.expect(name);
        assert_eq!(images[0].repo_tags, ["docker.io/library/packed:1"]);
        shop.store.remove_image("packed:1").await.expect("it goes");
        shop.assert_clean(0);
    }

    let layer = layer_of(&[("greeting", EntryType::Regular, "hi", "")]);
    for (kind, packed) in
        [("plain", layer.clone()), ("gzip", gzip(&layer)), ("zstd", zstd::encode_all(&layer[..], 1).expect("zstd"))]
    {
        let layout = shop.path(kind);
        let manifest = write_layout(&layout, &layer, &packed, "layout.test/app:2");
        let image = shop.store.import(&layout).await.expect(kind).remove(0);
        assert_eq!(image.repo_tags, ["layout.test/app:2"]);
        assert_eq!(image.repo_digests, [format!("layout.test/app@{manifest}")]);
        let digest = shop.store.image_status(&format!("layout.test/app@{manifest}")).await.expect("a name");
        assert_eq!(digest.expect("by digest").id, image.id);
        // The same as an archive.
        let mut tar = Builder::new(Vec::new());
        tar.append_dir_all(".", &layout).expect("an archive");
        fs::write(shop.path("layout.tar"), tar.into_inner().expect("bytes")).expect("written");
        assert_eq!(shop.store.import(&shop.path("layout.tar")).await.expect("a layout").remove(0).id, image.id);
        shop.store.remove_image(&image.id).await.expect("it goes");
        shop.assert_clean(0);
    }
}

#[tokio::test]
async fn whiteouts_hide_what_lies_below() {
    let node = Node::new().await;
    let mut base = busybox_layer();
    base.extend(["gone", "dir/a", "dir/b", "opaque/old", "swap/inner"].map(|path| File::new(path, 0o644, "below\n")));
    base.push(File { path: "hard".to_owned(), mode: 0o644, content: Content::Hardlink("gone".to_owned()) });
    let top = vec![
        File::new(".wh.gone", 0o644, ""),
        File::new("dir/.wh.a", 0o644, ""),
        File::new("opaque/new", 0o644, "above\n"),
        File::new("opaque/.wh..wh..opq", 0o644, ""),
        File::new(".wh.swap", 0o644, ""),
        File::new("swap/fresh", 0o644, "above\n"),
    ];
    build::into_store(&node.images, source(&["whiteouts:1"], vec![base, top])).await.expect("an image");
    let (_, out) = node
        .script("whiteouts", |config| {
            config.image = "whiteouts:1".to_owned();
            config.security.run_as_user = Some(0);
            config.command[2] =
                "ls / | tr '\\n' ' ' | grep -o -w gone; ls /dir /opaque /swap; cat /hard; id -u".to_owned();
        })
        .await;
    assert_eq!(out, "/dir:\nb\n\n/opaque:\nnew\n\n/swap:\nfresh\nbelow\n0\n");
    node.close().await;
}

#[tokio::test]
async fn a_layer_may_come_twice() {
    let node = Node::new().await;
    let again = vec![File::new("twice", 0o644, "again\n")];
    let layers = vec![busybox_layer(), again.clone(), vec![File::new(".wh.twice", 0o644, "")], again];
    build::into_store(&node.images, source(&["twice:1"], layers)).await.expect("an image");
    let (_, out) = node
        .script("twice", |config| {
            config.image = "twice:1".to_owned();
            config.command[2] = "cat /twice; id -un".to_owned();
        })
        .await;
    assert_eq!(out, "again\nweb\n");
    node.close().await;
}

#[tokio::test]
async fn hostile_archives_are_refused_and_leave_nothing() {
    let shop = Shop::new().await;
    let outside = shop.path("outside");
    fs::create_dir(&outside).expect("a directory");
    let absolute = outside.to_str().expect("UTF-8");
    for (what, layer, refused) in [
        ("climbing entry", layer_of(&[("../../outside/evil", EntryType::Regular, "x", "")]), true),
        ("climbing whiteout", layer_of(&[("a/../../.wh.x", EntryType::Regular, "", "")]), true),
        ("climbing hard link", layer_of(&[("l", EntryType::Link, "", "../../../../etc/passwd")]), true),
        ("hard link to nothing", layer_of(&[("l", EntryType::Link, "", "none")]), true),
        ("whiteout of ..", layer_of(&[("a/.wh...", EntryType::Regular, "", "")]), true),
        (
            "absolute link, then through it",
            layer_of(&[("out", EntryType::Symlink, "", absolute), ("out/evil", EntryType::Regular, "x", "")]),
            true,
        ),
        (
            "a link within",
            layer_of(&[
                ("run/old", EntryType::Regular, "x", ""),
                ("var/run", EntryType::Symlink, "", "/run"),
                ("var/run/new", EntryType::Regular, "x", ""),
            ]),
            false,
        ),
        (
            "climbing link, then through it",
            layer_of(&[
                ("up", EntryType::Symlink, "", "../../../../../../../../../../../../tmp"),
                ("up/kaji-evil", EntryType::Regular, "x", ""),
            ]),
            true,
        ),
        (
            "hard link through a link",
            layer_of(&[("out", EntryType::Symlink, "", "/etc"), ("l", EntryType::Link, "", "out/passwd")]),
            true,
        ),
        (
            "a file for a directory",
            layer_of(&[("f", EntryType::Regular, "x", ""), ("f/g", EntryType::Regular, "x", "")]),
            true,
        ),
    ] {
        let layout = shop.path("layout");
        write_layout(&layout, &layer, &layer, "evil.test/app:1");
        let result = shop.store.import(&layout).await;
        if refused {
            assert!(matches!(result, Err(Error::Archive(_))), "{what}: {result:?}");
        } else {
            // As in a container, an absolute link starts at the layer's own root.
            let image = result.unwrap_or_else(|err| panic!("{what}: {err}"));
            shop.store.remove_image(&image[0].id).await.expect("it goes");
        }
        shop.assert_clean(0);
        assert_eq!(fs::read_dir(&outside).expect("the directory").count(), 0, "{what}");
        assert!(!Path::new("/tmp/kaji-evil").exists(), "{what}");
        fs::remove_dir_all(layout).expect("ours");
    }
}

#[tokio::test]
async fn damaged_archives_are_told() {
    let shop = Shop::new().await;
    let archive = shop.path("images.tar");
    let bytes: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    build::save_archive(&archive, &[source(&["whole:1"], vec![vec![File::new("f", 0o644, bytes)]])])
        .expect("an archive");
    let whole = fs::read(&archive).expect("the archive");
    let packed = gzip(&whole);
    let mut flipped = whole.clone();
    let at = flipped.len() / 3;
    flipped[at] ^= 1;
    for (what, damaged) in [
        ("empty", Vec::new()),
        ("text", b"this is no archive at all, only some words".repeat(40)),
        ("cut", whole[..whole.len() / 2].to_vec()),
        ("cut gzip", packed[..packed.len() / 2].to_vec()),
        ("one bit", flipped),
    ] {
        fs::write(&archive, damaged).expect("written");
        let err = shop.store.import(&archive).await.expect_err(what);
        assert!(matches!(err, Error::Archive(_)), "{what}: {err}");
        shop.assert_clean(0);
    }
    assert!(matches!(shop.store.import(&shop.path("none")).await, Err(Error::Archive(_))));
}

#[tokio::test]
async fn a_full_disk_is_told_and_leaves_nothing() {
    let directory = tempfile::Builder::new().prefix("kaji-full-").tempdir().expect("a directory");
    let small = directory.path().join("small");
    fs::create_dir(&small).expect("a directory");
    let target = std::ffi::CString::new(small.to_str().expect("UTF-8")).expect("a path");
    // SAFETY: plain calls on a directory of this test.
    let mounted =
        unsafe { libc::mount(c"small".as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0, c"size=1M".as_ptr().cast()) };
    assert_eq!(mounted, 0);
    let archive = directory.path().join("large.tar");
    let large = source(&["large:1"], vec![vec![File::new("f", 0o644, vec![7; 3 << 20])]]);
    build::save_archive(&archive, &[large]).expect("an archive");
    let scope = Scope::root();
    let store = ImageStore::open(&small, RegistryConfig::default(), scope).await.expect("a store");
    let err = store.import(&archive).await.expect_err("it does not fit");
    let left = fs::read_dir(small.join("images/tmp")).expect("the store").count();
    let layers = fs::read_dir(small.join("images/layers")).expect("the store").count();
    // SAFETY: as above.
    unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
    assert!(matches!(err, Error::DiskFull { .. }), "{err}");
    assert_eq!((left, layers), (0, 0));
}

#[tokio::test]
async fn a_removed_image_stays_under_its_containers() {
    let mut node = Node::new().await;
    let sandbox = node.sandbox("hold").await;
    let id = node.run(&sandbox, shell("c", "sleep 1000")).await;
    node.images.remove_image(BUSYBOX).await.expect("it goes");
    assert!(node.images.image_status(BUSYBOX).await.expect("a name").is_none());
    assert_eq!(node.exec(&id, "echo here").await, (0, "here\n".to_owned()));
    let layers = node.directory.path().join("data/images/layers");
    assert_eq!(fs::read_dir(&layers).expect("the store").count(), 1);
    // The hold is found again by the next server.
    node.stop_server().await;
    node.restart().await;
    assert_eq!(node.exec(&id, "echo here").await, (0, "here\n".to_owned()));
    node.runtime.remove_pod_sandbox(&sandbox).await.expect("it goes");
    assert_eq!(fs::read_dir(&layers).expect("the store").count(), 0);
    node.close().await;
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("written");
    encoder.finish().expect("gzip")
}

/// A layer from raw entries: path, kind, content, link target. Nothing is checked on the way.
pub fn layer_of(entries: &[(&str, EntryType, &str, &str)]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (path, kind, content, target) in entries {
        let mut header = Header::new_gnu();
        let name = &mut header.as_gnu_mut().expect("a GNU header").name;
        name[..path.len()].copy_from_slice(path.as_bytes());
        let link = &mut header.as_gnu_mut().expect("a GNU header").linkname;
        link[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(content.len() as u64);
        header.set_cksum();
        tar.append(&header, content.as_bytes()).expect("an entry");
    }
    tar.into_inner().expect("a layer")
}

pub fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Config and manifest of an image with one layer.
pub fn image_of(layer: &[u8], packed: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let config = serde_json::json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [digest(layer)]},
    });
    let config = serde_json::to_vec(&config).expect("JSON");
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(&config), "size": config.len()},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest(packed), "size": packed.len()}],
    });
    (config, serde_json::to_vec(&manifest).expect("JSON"))
}

/// An OCI layout whose index names an index of several platforms; the digest of the inner index.
fn write_layout(place: &Path, layer: &[u8], packed: &[u8], name: &str) -> String {
    let (config, manifest) = image_of(layer, packed);
    let platform = |arch: &str| serde_json::json!({"architecture": arch, "os": "linux"});
    let missing = format!("sha256:{}", "0".repeat(64));
    let inner = serde_json::json!({"schemaVersion": 2, "manifests": [
        {"digest": missing, "size": 1, "platform": platform("s390x")},
        {"digest": digest(&manifest), "size": manifest.len(), "platform": platform("amd64")},
    ]});
    let inner = serde_json::to_vec(&inner).expect("JSON");
    let index = serde_json::json!({"schemaVersion": 2, "manifests": [
        {"digest": digest(&inner), "size": inner.len(), "annotations": {"io.containerd.image.name": name}},
    ]});
    let blobs = place.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("a directory");
    for bytes in [&config[..], &manifest, &inner, packed] {
        fs::write(blobs.join(&digest(bytes)[7..]), bytes).expect("a blob");
    }
    fs::write(place.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("written");
    fs::write(place.join("index.json"), serde_json::to_vec(&index).expect("JSON")).expect("written");
    digest(&inner)
}
