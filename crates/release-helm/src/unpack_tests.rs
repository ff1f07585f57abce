//! Archives that mean harm.

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{Builder, Header};

use super::*;

enum Item<'a> {
    File(&'a str, &'a [u8]),
    Link(&'a str, &'a str),
    Other(&'a str, EntryType),
}

fn archive(items: &[Item<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for item in items {
        let mut header = Header::new_gnu();
        header.set_mode(0o644);
        let (name, data, kind): (&str, &[u8], _) = match item {
            Item::File(name, data) => (name, data, EntryType::Regular),
            Item::Link(name, to) => {
                header.as_mut_bytes()[157..157 + to.len()].copy_from_slice(to.as_bytes());
                (name, b"", EntryType::Symlink)
            }
            Item::Other(name, kind) => (name, b"", *kind),
        };
        // Written by hand: the crate's own setters refuse what an attacker would write.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(data.len() as u64);
        header.set_entry_type(kind);
        header.set_cksum();
        builder.append(&header, data).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap()
}

fn unpacked(items: &[Item<'_>]) -> (tempfile::TempDir, Result<()>) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("tree");
    fs::create_dir(&root).unwrap();
    let result = unpack(&archive(items), &root, &Limits::default(), &AtomicBool::new(false));
    (folder, result)
}

#[test]
fn the_top_folder_is_taken_off() {
    let (folder, result) = unpacked(&[
        Item::Other("o-r-abc/", EntryType::Directory),
        Item::File("o-r-abc/chart/Chart.yaml", b"name: x"),
        Item::Link("o-r-abc/alias", "chart"),
        Item::Link("o-r-abc/chart/up", "../chart/Chart.yaml"),
    ]);
    result.unwrap();
    let root = folder.path().join("tree");
    assert_eq!(fs::read_to_string(root.join("alias/Chart.yaml")).unwrap(), "name: x");
    assert_eq!(fs::read_to_string(root.join("chart/up")).unwrap(), "name: x");
}

#[test]
fn nothing_is_written_outside() {
    for name in ["top/../../evil", "/evil", "top/a/../../../evil", "../evil"] {
        let (folder, result) = unpacked(&[Item::File(name, b"x")]);
        assert!(result.is_err(), "{name}");
        assert!(!folder.path().join("evil").exists(), "{name}");
    }
}

#[test]
fn links_that_lead_out_are_left_out() {
    let (folder, result) = unpacked(&[
        Item::File("top/a/b/file", b"x"),
        Item::Link("top/absolute", "/etc/passwd"),
        Item::Link("top/up", "../../etc"),
        Item::Link("top/dangling", "nothing"),
        Item::Link("top/loop", "loop"),
        // To the root, which is inside, and from there through the link and out.
        Item::Link("top/a/b/root", "../.."),
        Item::Link("top/through", "a/b/root/../tree/../.."),
    ]);
    result.unwrap();
    let root = folder.path().join("tree");
    for name in ["absolute", "up", "dangling", "loop", "through"] {
        assert!(root.join(name).symlink_metadata().is_err(), "{name}");
    }
    assert!(root.join("a/b/root/a/b/file").is_file());
}

#[test]
fn nothing_is_written_through_links() {
    // The link is named first, the file below it later: the file makes a real folder.
    let (folder, result) = unpacked(&[Item::Link("top/out", ".."), Item::File("top/out/evil", b"x")]);
    assert!(result.is_err());
    assert!(!folder.path().join("evil").exists());
    let (folder, result) = unpacked(&[Item::Link("top/a", ".."), Item::Link("top/a/evil", "b")]);
    assert!(result.is_err() || folder.path().join("evil").symlink_metadata().is_err());
}

#[test]
fn devices_and_hard_links_are_refused() {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo, EntryType::Link] {
        let (_folder, result) = unpacked(&[Item::Other("top/x", kind)]);
        assert!(result.unwrap_err().message.contains("top/x"));
    }
}

#[test]
fn bombs_are_refused() {
    let zeros = vec![0; 40 * 1024 * 1024];
    let (_folder, result) = unpacked(&[Item::File("top/zeros", &zeros)]);
    assert!(result.unwrap_err().message.contains("times its size"));

    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { bytes: 10, entries: 2, ratio: 200 };
    let error =
        unpack(&archive(&[Item::File("top/a", b"12345678901")]), folder.path(), &limits, &AtomicBool::new(false));
    assert!(error.is_err());
    let items = [Item::File("top/a", b""), Item::File("top/b", b""), Item::File("top/c", b"")];
    let error = unpack(&archive(&items), folder.path(), &limits, &AtomicBool::new(false)).unwrap_err();
    assert!(error.message.contains("more than 2 files"), "{error}");
}

#[test]
fn what_is_no_archive_is_said_to_be_none() {
    let folder = tempfile::tempdir().unwrap();
    let stop = AtomicBool::new(false);
    let mut cut = archive(&[Item::File("top/a", &[7; 4000])]);
    cut.truncate(cut.len() - 20);
    for bytes in [b"".as_slice(), b"<html>", &cut] {
        assert!(unpack(bytes, folder.path(), &Limits::default(), &stop).is_err());
    }
}
