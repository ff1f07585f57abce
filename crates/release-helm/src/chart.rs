//! The chart's place in the repository, and what it depends on.

use std::fs;
use std::path::{Path, PathBuf};

use seatrial_preview::failure::{Diagnosis, Reason};
use seatrial_preview::{Error, Result};
use serde::Deserialize;

/// A chart that is ready, or one `helm dependency build` away from it.
#[derive(Debug)]
pub(crate) struct Chart {
    pub(crate) path: PathBuf,
    pub(crate) needs_build: bool,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    #[serde(default)]
    repository: String,
}

/// What `path` names within the tree; `None` when there is nothing, or when it leads out.
pub(crate) fn resolve(tree: &Path, path: &str) -> Option<PathBuf> {
    let tree = tree.canonicalize().ok()?;
    let relative = Path::new(path);
    if relative.is_absolute() {
        return None;
    }
    tree.join(relative).canonicalize().ok().filter(|real| real.starts_with(&tree))
}

/// Finds the chart in the tree. Dependencies must lie in the repository, be it under `charts/` or
/// by `file://`; the second kind has to be built before the chart can be installed.
pub(crate) fn find(tree: &Path, path: &str) -> Result<Chart> {
    let label = format!("chart {path:?}");
    let folder = resolve(tree, path).filter(|folder| folder.is_dir()).ok_or_else(|| {
        Error::diagnosed(invalid(
            label.clone(),
            format!("The chart's folder {path} does not exist at this commit."),
            "Add the chart, or correct chart.path in .seatrial.yaml on the base branch.",
        ))
    })?;
    let metadata = read(tree, &folder, "Chart.yaml").ok_or_else(|| {
        Error::diagnosed(invalid(
            label.clone(),
            format!("The folder {path} has no Chart.yaml, so it is not a chart."),
            "Let chart.path name the folder that has the Chart.yaml in it.",
        ))
    })?;
    let mut dependencies = parse(&metadata, &label, "Chart.yaml")?;
    if let Some(requirements) = read(tree, &folder, "requirements.yaml") {
        dependencies.extend(parse(&requirements, &label, "requirements.yaml")?);
    }
    let mut needs_build = false;
    for dependency in dependencies.iter().filter(|dependency| !vendored(&folder, &dependency.name)) {
        let Some(local) = dependency.repository.strip_prefix("file://") else {
            return Err(Error::diagnosed(remote(&label, dependency)));
        };
        let inside = tree.canonicalize().ok().zip(folder.join(local).canonicalize().ok());
        if !inside.is_some_and(|(tree, real)| real.starts_with(tree) && real.is_dir()) {
            return Err(Error::diagnosed(invalid(
                label,
                format!(
                    "The dependency {:?} points to {}, which is not a folder of the repository.",
                    dependency.name, dependency.repository
                ),
                "Keep the dependency in the repository, and name it relative to the chart's folder.",
            )));
        }
        needs_build = true;
    }
    let remote_vendored = dependencies.iter().find(|dependency| !dependency.repository.starts_with("file://"));
    if let Some(dependency) = remote_vendored.filter(|_| needs_build) {
        // `helm dependency build` would fetch all of them anew.
        return Err(Error::diagnosed(remote(&label, dependency)));
    }
    Ok(Chart { path: folder, needs_build })
}

fn read(tree: &Path, folder: &Path, name: &str) -> Option<String> {
    let path = folder.join(name).canonicalize().ok()?;
    let inside = path.starts_with(tree.canonicalize().ok()?);
    let small = path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() <= 1024 * 1024);
    if inside && small { fs::read_to_string(path).ok() } else { None }
}

fn parse(text: &str, label: &str, name: &str) -> Result<Vec<Dependency>> {
    serde_yaml_ng::from_str::<Metadata>(text).map(|metadata| metadata.dependencies).map_err(|error| {
        Error::diagnosed(invalid(
            label.to_owned(),
            format!("{name} of the chart cannot be read: {error}"),
            "Correct the file; `helm lint` shows the same.",
        ))
    })
}

/// Whether `charts/` has the dependency, unpacked or as an archive.
fn vendored(folder: &Path, name: &str) -> bool {
    let Ok(entries) = fs::read_dir(folder.join("charts")) else { return false };
    let archive = format!("{name}-");
    entries.flatten().any(|entry| {
        let file = entry.file_name();
        let file = file.to_string_lossy();
        file == name || (file.starts_with(&archive) && file.ends_with(".tgz"))
    })
}

fn remote(label: &str, dependency: &Dependency) -> Diagnosis {
    let from = if dependency.repository.is_empty() { "charts/" } else { &dependency.repository };
    invalid(
        label.to_owned(),
        format!(
            "The chart depends on {:?} from {from}; fetching dependencies is not supported by this version yet.",
            dependency.name
        ),
        "Vendor all dependencies: run `helm dependency update` and commit what it puts under charts/.",
    )
}

/// What is wrong with the archive of a chart, unless it is the disk.
pub(crate) fn unusable(label: &str, error: Error) -> Error {
    if error.is_transient() {
        return error;
    }
    let summary = format!("The chart's archive cannot be unpacked: {error}.");
    Error::diagnosed(invalid(label.to_owned(), summary, "Package the chart with `helm package` and publish that."))
}

pub(crate) fn invalid(culprit: String, summary: String, advice: &str) -> Diagnosis {
    Diagnosis { reason: Reason::ChartInvalid, culprit, summary, advice: advice.to_owned(), evidence: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    const HEAD: &str = "apiVersion: v2\nname: shop\nversion: 1.0.0\n";

    #[test]
    fn the_chart_is_a_folder_of_the_tree_with_a_chart_yaml() {
        let tree = tree(&[("deploy/chart/Chart.yaml", HEAD), ("empty/x", "")]);
        assert!(!find(tree.path(), "deploy/chart").unwrap().needs_build);
        assert!(find(tree.path(), "./deploy/../deploy/chart/").is_ok());
        for path in ["", "empty", "missing", "deploy/chart/Chart.yaml", "/etc", "..", "../../etc"] {
            let error = find(tree.path(), path).unwrap_err();
            assert_eq!(error.diagnosis.unwrap().reason, Reason::ChartInvalid, "{path}");
        }
    }

    #[test]
    fn dependencies_lie_in_the_repository() {
        let with = |repository: &str| {
            format!("{HEAD}dependencies:\n- {{name: redis, version: 1.0.0, repository: {repository:?}}}\n")
        };
        let common = ("common/Chart.yaml", "apiVersion: v2\nname: redis\nversion: 1.0.0\n");

        let local = tree(&[("chart/Chart.yaml", &with("file://../common")), common]);
        assert!(find(local.path(), "chart").unwrap().needs_build);

        for repository in ["file://../../outside", "file:///etc", "file://../missing"] {
            let outside = tree(&[("chart/Chart.yaml", &with(repository)), common]);
            let error = find(outside.path(), "chart").unwrap_err();
            assert!(error.message.contains("not a folder of the repository"), "{error}");
        }

        let fetched = tree(&[("chart/Chart.yaml", &with("https://charts.example.com"))]);
        let error = find(fetched.path(), "chart").unwrap_err();
        assert!(error.message.contains("not supported by this version yet"), "{error}");
        assert!(error.diagnosis.unwrap().advice.contains("Vendor"));

        for vendored in ["chart/charts/redis/Chart.yaml", "chart/charts/redis-1.0.0.tgz"] {
            let tree = tree(&[("chart/Chart.yaml", &with("https://charts.example.com")), (vendored, "")]);
            assert!(!find(tree.path(), "chart").unwrap().needs_build, "{vendored}");
        }
    }
}
