//! Against a real registry that holds the sample application as `shop:base`. It is named, never
//! found: set `SEATRIAL_TEST_REGISTRY` to its host and port. Without it this test does nothing.

use seatrial_preview::ports::Images;
use seatrial_registry_oci::{Reach, Registries, Repository, digest_of};

#[tokio::test]
async fn tags_and_digests_of_the_sample() {
    let Ok(host) = std::env::var("SEATRIAL_TEST_REGISTRY") else { return };
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let hosts = [host.clone()];
    let registries = Registries::new(Reach::new(&hosts, &hosts, &hosts).unwrap()).unwrap();
    let image = format!("{host}/shop");
    let find = |tag: &'static str| Images::find_digest(&registries, &image, tag);

    let digest = find("base").await.unwrap().unwrap();
    assert_eq!(find("no-such-tag").await.unwrap(), None);
    let missing = format!("{host}/no/such/image");
    assert_eq!(Images::find_digest(&registries, &missing, "base").await.unwrap(), None);

    let repository = Repository::parse(&image).unwrap();
    let manifest = registries.find_manifest(&repository, "base").await.unwrap().unwrap();
    assert_eq!((&manifest.digest, &digest_of(&manifest.body)), (&digest, &digest));
    let by_digest = registries.find_manifest(&repository, &digest).await.unwrap().unwrap();
    assert_eq!(by_digest.body, manifest.body);
    assert!(registries.list_tags(&repository).await.unwrap().unwrap().contains(&"base".to_owned()));
}
