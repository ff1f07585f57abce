//! The tools: npm's and PyPI's packages as `tests/surface` pins them, in a folder of their own.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::progress::step;
use crate::shell;
use crate::workspace::{cache, root};

pub struct Tools {
    folder: PathBuf,
}

impl Tools {
    /// Installs what is missing or has another version.
    pub fn install() -> Result<Self> {
        let tools = Self { folder: cache()?.join("surface") };
        fs::create_dir_all(&tools.folder)?;
        let folder = tools.folder.as_path();
        once(folder, "package.json", || {
            let mut npm = Command::new("npm");
            npm.args(["install", "--no-audit", "--no-fund", "--loglevel=error"]).current_dir(folder);
            finish(&mut npm).context("install Node 20.19 or newer with npm")
        })?;
        once(folder, "requirements.txt", || {
            finish(Command::new("python3").args(["-m", "venv", "python"]).current_dir(folder))
                .context("a Python environment cannot be made: install python3 with its venv module")?;
            let requirements = ["install", "--quiet", "-r", "requirements.txt"];
            finish(Command::new(folder.join("python/bin/pip")).args(requirements).current_dir(folder))
        })?;
        Ok(tools)
    }

    /// A program of an npm package.
    pub fn node(&self, name: &str) -> Command {
        Command::new(self.packages().join(".bin").join(name))
    }

    /// A program of a PyPI package.
    pub fn python(&self, name: &str) -> Command {
        Command::new(self.folder.join("python/bin").join(name))
    }

    pub fn packages(&self) -> PathBuf {
        self.folder.join("node_modules")
    }

    /// The caller's, and before it the folder where tools find those that they call.
    pub fn path(&self) -> Result<OsString> {
        let own = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.folder.join("python/bin")).chain(std::env::split_paths(&own));
        Ok(std::env::join_paths(folders)?)
    }
}

/// Installs unless this very list is installed.
fn once(folder: &Path, list: &str, install: impl FnOnce() -> Result<()>) -> Result<()> {
    let wanted = fs::read_to_string(root().join("tests/surface").join(list))?;
    let stamp = folder.join(format!("installed-{list}"));
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    step(&format!("install the tools of {list}"), || {
        fs::write(folder.join(list), &wanted)?;
        install()?;
        Ok(fs::write(stamp, &wanted)?)
    })
}

fn finish(command: &mut Command) -> Result<()> {
    shell::run(command.stdin(Stdio::null())).map(|_| ())
}
