//! Builds the cluster's program, Helm and the sample application, when their sources changed.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::layout::{self, Layout};
use super::preflight;
use crate::progress::step;
use crate::shell;

/// What is built from Go sources.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// All parts of Kubernetes in one program.
    pub program: PathBuf,
    pub helm: PathBuf,
    /// What holds a pod's network.
    pub pause: PathBuf,
    /// The sample application.
    pub shop: PathBuf,
    /// Tells one build of the program from another.
    pub stamp: String,
}

const KUBERNETES: (&str, &str) = ("1", "35.4");

/// Makes all executables, or finds them made. Needs neither root nor a cluster.
pub fn build(layout: &Layout) -> Result<Binaries> {
    preflight::check_build()?;
    fs::create_dir_all(layout.cache())?;
    let lock = File::create(layout.cache().join("build.lock"))?;
    lock.lock().context("cannot lock the build")?;

    let bin = layout.bin();
    let tests = layout::sources().join("tests");
    let (major, rest) = KUBERNETES;
    let minor = rest.split('.').next().unwrap_or(rest);
    let version = "-X k8s.io/component-base/version.git";
    let flags = format!("-s -w {version}Version=v{major}.{rest} {version}Major={major} {version}Minor={minor}");
    let packages = [".", "./pause", "helm.sh/helm/v4/cmd/helm"];
    let stamp = go_build(&bin, &tests.join("cluster"), &flags, &packages, &["cluster", "pause", "helm"])?;
    go_build(&bin, &tests.join("sample/app"), "-s -w", &["."], &["shop"])?;
    Ok(Binaries {
        program: bin.join("cluster"),
        helm: bin.join("helm"),
        pause: bin.join("pause"),
        shop: bin.join("shop"),
        stamp,
    })
}

/// Builds packages of the module in `sources` into `bin`, unless what lies there is theirs.
/// Gives the sources' stamp.
fn go_build(bin: &Path, sources: &Path, flags: &str, packages: &[&str], made: &[&str]) -> Result<String> {
    let go = shell::run(Command::new("go").arg("version"))?;
    let stamp = stamp(sources, &[&go, flags])?;
    let stamp_file = bin.join(format!("{}.stamp", made[0]));
    let complete = made.iter().all(|name| bin.join(name).is_file());
    if complete && fs::read_to_string(&stamp_file).is_ok_and(|known| known == stamp) {
        return Ok(stamp);
    }
    step(&format!("build {} (minutes the first time)", made.join(", ")), || {
        // Built beside and moved over: what runs from the old files goes on running.
        let fresh = bin.join("fresh");
        fs::create_dir_all(&fresh)?;
        let status = Command::new("go")
            .current_dir(sources)
            .env("CGO_ENABLED", "0")
            .args(["build", "-trimpath", "-ldflags", flags, "-o"])
            // Several packages go into a folder by their own names, one into a file.
            .arg(if made.len() > 1 { fresh.clone() } else { fresh.join(made[0]) })
            .args(packages)
            .status()
            .context("cannot run go")?;
        ensure!(status.success(), "go build failed in {}", sources.display());
        for name in made {
            fs::rename(fresh.join(name), bin.join(name))?;
        }
        fs::remove_dir_all(&fresh)?;
        Ok(fs::write(&stamp_file, &stamp)?)
    })?;
    Ok(stamp)
}

/// A short text that changes when the Go sources below `folder` or `others` change.
fn stamp(folder: &Path, others: &[&str]) -> Result<String> {
    let mut files = Vec::new();
    go_files(folder, &mut files)?;
    files.sort();
    let mut hasher = DefaultHasher::new();
    others.hash(&mut hasher);
    for file in files {
        file.strip_prefix(folder)?.hash(&mut hasher);
        fs::read(&file)?.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn go_files(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if entry.file_type()?.is_dir() {
            go_files(&entry.path(), found)?;
        } else if (name.ends_with(".go") && !name.ends_with("_test.go")) || name == "go.mod" || name == "go.sum" {
            found.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_follow_what_is_built() -> Result<()> {
        let folder = std::env::temp_dir().join(format!("seatrial-stamp-{}", std::process::id()));
        fs::create_dir_all(folder.join("inner"))?;
        fs::write(folder.join("inner/main.go"), "package main")?;
        let first = stamp(&folder, &["go1.25"])?;
        assert_eq!(first, stamp(&folder, &["go1.25"])?);
        assert_ne!(first, stamp(&folder, &["go1.26"])?);

        fs::write(folder.join("inner/main_test.go"), "package main")?;
        fs::write(folder.join("README.md"), "text")?;
        assert_eq!(first, stamp(&folder, &["go1.25"])?, "not part of the program");

        fs::write(folder.join("inner/main.go"), "package other")?;
        assert_ne!(first, stamp(&folder, &["go1.25"])?);
        Ok(fs::remove_dir_all(&folder)?)
    }
}
