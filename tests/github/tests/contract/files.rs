//! Contents and archives.

use std::collections::BTreeMap;
use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use poem::http::Method;
use seatrial_github_standin::{DEFAULT_TOKEN, FileContent, NewCommit, files};

use crate::support::{SHOP, World};

#[tokio::test]
async fn a_file_is_the_one_of_that_commit() {
    let world = World::start().await;
    let commit = NewCommit {
        branch: "main".into(),
        files: files([("README.md", "Shop 2\n")]),
        delete: vec!["chart".into()],
        ..NewCommit::default()
    };
    let before = world.get("/repos/acme/shop/git/ref/heads/main").await.json();
    let before = before["object"]["sha"].as_str().unwrap().to_owned();
    let after = world.control.commit(SHOP, &commit).await.unwrap();
    assert_eq!(after.len(), 40);
    let path = "/repos/acme/shop/contents/README.md";
    let text = async |at: &str| {
        let file = world.get(&format!("{path}?ref={at}")).await.json();
        let lines = file["content"].as_str().unwrap().replace('\n', "");
        assert_eq!(file["size"].as_u64().unwrap() as usize, STANDARD.decode(&lines).unwrap().len());
        String::from_utf8(STANDARD.decode(lines).unwrap()).unwrap()
    };
    assert_eq!(text(&before).await, "Shop\n");
    assert_eq!(text("main").await, "Shop 2\n");
    let file = world.get(path).await.json();
    // The hash git itself gives "Shop 2\n".
    assert_eq!(file["sha"], "a285d549ae2412bc46f885af2c5fd40aa5ea5fd7");
    let gone = world.get("/repos/acme/shop/contents/chart/Chart.yaml").await;
    assert_eq!(gone.status, 404);
    let raw =
        world.request(Method::GET, path).bearer_auth(DEFAULT_TOKEN).header("Accept", "application/vnd.github.raw+json");
    assert_eq!(world.send(raw).await.bytes, b"Shop 2\n");
    assert_eq!(world.get(&format!("{path}?ref=none")).await.status, 404);
}

#[tokio::test]
async fn an_archive_has_the_files_of_its_commit() {
    let world = World::start().await;
    let commit = NewCommit {
        branch: "main".into(),
        files: files([
            ("run.sh", FileContent::from("#!/bin/sh\n")),
            ("link", FileContent::Symlink { symlink: "/etc/passwd".into() }),
            ("bytes", FileContent::from(vec![0xff, 0x00])),
        ]),
        ..NewCommit::default()
    };
    let sha = world.control.commit(SHOP, &commit).await.unwrap();
    let path = format!("/repos/acme/shop/tarball/{sha}");
    let sent = world.get(&path).await;
    assert_eq!(sent.status, 302);
    let archive = world.send(world.request(Method::GET, sent.header("location"))).await;
    let gzip = flate2::read::GzDecoder::new(archive.bytes.as_slice());
    let mut found = BTreeMap::new();
    for entry in tar::Archive::new(gzip).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        let kind = entry.header().entry_type();
        let mode = entry.header().mode().unwrap();
        let mut data = Vec::new();
        entry.read_to_end(&mut data).unwrap();
        found.insert(path, (kind, mode & 0o111, data));
    }
    let top = format!("acme-shop-{}", &sha[..7]);
    let at = |path: &str| &found[&format!("{top}/{path}")];
    assert_eq!(at("chart/Chart.yaml").2, b"name: shop\n");
    assert_eq!(at("bytes").2, [0xff, 0x00]);
    assert_ne!(at("run.sh").1, 0);
    assert_eq!(at("link").0, tar::EntryType::Symlink);
    assert_eq!(world.get("/repos/acme/shop/tarball/none").await.status, 404);
}

#[tokio::test]
async fn paths_that_leave_the_repository_are_no_paths() {
    let world = World::start().await;
    for path in ["../x", "/x", "a//b", ".git/config"] {
        let commit = NewCommit { branch: "main".into(), files: files([(path, "x")]), ..NewCommit::default() };
        assert!(world.control.commit(SHOP, &commit).await.is_err(), "{path}");
    }
}
