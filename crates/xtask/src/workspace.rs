//! The repository and its cargo.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// Every build of the workspace asks for the same features, so that nothing is built twice.
const FEATURES: [&str; 3] = ["--workspace", "--features", "seatrial-tests/cluster"];

/// The repository's root.
pub fn root() -> PathBuf {
    // As cargo runs it: two clones may share a target folder, and so this very program.
    let here =
        std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    here.ancestors().nth(2).expect("crates/xtask lies two folders below the root").to_owned()
}

/// Cargo over the whole workspace: `cargo test --workspace …`.
pub fn cargo(subcommand: &str) -> Command {
    let mut command = plain_cargo(subcommand);
    command.args(FEATURES);
    command
}

/// Cargo without a choice of packages.
pub fn plain_cargo(subcommand: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).arg(subcommand);
    command
}

/// Where what was fetched is kept between runs.
pub fn cache() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(base.join("seatrial"))
}

/// Runs a command in view of the person who waits for it.
pub fn show(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot run {name}"))?;
    if !status.success() {
        let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
        bail!("{name} {} failed ({status})", arguments.join(" "));
    }
    Ok(())
}

/// How the workspace is built, which is also the folder that cargo puts programs into.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    Debug,
    Release,
}

/// Where cargo puts a program of the workspace.
pub fn program(profile: Profile, name: &str) -> Result<PathBuf> {
    let mut command = plain_cargo("metadata");
    command.args(["--format-version", "1", "--no-deps"]);
    let metadata: serde_json::Value = serde_json::from_str(&crate::shell::run(&mut command)?)?;
    let target = metadata["target_directory"].as_str().context("cargo metadata names no target directory")?;
    let folder = match profile {
        Profile::Debug => "debug",
        Profile::Release => "release",
    };
    Ok(Path::new(target).join(folder).join(name))
}
