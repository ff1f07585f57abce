//! Imports point one way, and each foundation is named in one room.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::shell;
use crate::workspace::plain_cargo;

/// Whom each crate may import of ours. The repository's own tools and tests may import anybody.
const ALLOWED: [(&str, &[&str]); 11] = [
    ("seatrial-engine", &[]),
    ("seatrial-preview", &[]),
    ("seatrial-store", &["seatrial-engine", "seatrial-preview"]),
    ("seatrial-cluster-kube", &["seatrial-preview"]),
    ("seatrial-forge-github", &["seatrial-preview"]),
    ("seatrial-registry-oci", &["seatrial-preview"]),
    // Charts are fetched by the client that images are asked for with, under the same rules.
    ("seatrial-release-helm", &["seatrial-preview", "seatrial-registry-oci"]),
    ("seatrial-workflows", &["seatrial-engine", "seatrial-preview"]),
    ("seatrial-operations", &["seatrial-workflows", "seatrial-engine", "seatrial-preview", "seatrial-store"]),
    (
        "seatrial-api",
        // The domain's words travel through operations; naming them is not going around the door.
        &["seatrial-operations", "seatrial-engine", "seatrial-preview", "seatrial-store"],
    ),
    (
        "seatrial",
        &[
            "seatrial-api",
            "seatrial-cluster-kube",
            "seatrial-engine",
            "seatrial-forge-github",
            "seatrial-operations",
            "seatrial-preview",
            "seatrial-registry-oci",
            "seatrial-release-helm",
            "seatrial-store",
            "seatrial-workflows",
        ],
    ),
];

/// Crates that free access to the outside world, and the rooms that may name each.
const ROOMS: [(&str, &[&str]); 8] = [
    ("kube", &["seatrial-cluster-kube"]),
    ("k8s-openapi", &["seatrial-cluster-kube"]),
    ("octocrab", &["seatrial-forge-github"]),
    // The guarded client, and the command line that asks a server somebody named.
    ("reqwest", &["seatrial-registry-oci", "seatrial"]),
    ("sqlx", &["seatrial-store"]),
    ("poem", &["seatrial-api"]),
    ("poem-openapi", &["seatrial-api"]),
    ("rmcp", &["seatrial-api"]),
];

/// The repository's own tools and tests: nothing of the product imports them.
const WORKSHOP: [&str; 3] = ["seatrial-github-standin", "seatrial-tests", "xtask"];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or nothing.
    kind: Option<String>,
}

pub fn check() -> Result<()> {
    let mut command = plain_cargo("metadata");
    command.args(["--format-version", "1", "--no-deps"]);
    let metadata: Metadata =
        serde_json::from_str(&shell::run(&mut command)?).context("cargo metadata cannot be read")?;
    let wrong = wrong_imports(&metadata.packages);
    if wrong.is_empty() {
        return Ok(());
    }
    bail!("imports against the direction (see ARCHITECTURE.md):\n  {}", wrong.join("\n  "))
}

fn wrong_imports(packages: &[Package]) -> Vec<String> {
    let allowed: BTreeMap<_, _> = ALLOWED.into_iter().collect();
    let mut wrong = Vec::new();
    for package in packages.iter().filter(|package| !WORKSHOP.contains(&package.name.as_str())) {
        let Some(may) = allowed.get(package.name.as_str()) else {
            wrong.push(format!("{} is a new room: give it its place in the list", package.name));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| dependency.kind.is_none()) {
            let name = dependency.name.as_str();
            let ours = packages.iter().any(|package| package.name == name);
            if ours && !may.contains(&name) {
                wrong.push(format!("{} imports {name}", package.name));
            }
            if ROOMS.iter().any(|(library, rooms)| *library == name && !rooms.contains(&package.name.as_str())) {
                wrong.push(format!("{} names {name}", package.name));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependencies = dependencies
            .iter()
            .map(|(name, kind)| Dependency { name: (*name).to_owned(), kind: kind.map(str::to_owned) })
            .collect();
        Package { name: name.to_owned(), dependencies }
    }

    #[test]
    fn an_import_against_the_direction_is_named() {
        let packages =
            [package("seatrial-preview", &[("seatrial-store", None), ("serde", None)]), package("seatrial-store", &[])];
        assert_eq!(wrong_imports(&packages), ["seatrial-preview imports seatrial-store"]);
    }

    #[test]
    fn a_foundation_outside_its_room_and_a_new_room_are_named() {
        let packages = [package("seatrial-operations", &[("sqlx", None)]), package("seatrial-new", &[])];
        assert_eq!(
            wrong_imports(&packages),
            ["seatrial-operations names sqlx", "seatrial-new is a new room: give it its place in the list"]
        );
    }

    #[test]
    fn tests_may_import_what_they_need() {
        let packages = [package("seatrial-engine", &[("seatrial-store", Some("dev"))]), package("seatrial-store", &[])];
        assert!(wrong_imports(&packages).is_empty());
    }
}
