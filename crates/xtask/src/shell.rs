//! Running other programs and waiting for conditions.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// Where the programs of a Debian system lie, whatever the caller's `PATH` says: a plain user's
/// lacks the folders for the administrator.
pub const SYSTEM_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs a program to its end; an error holds what it wrote to its error output.
pub fn run(command: &mut Command) -> Result<String> {
    let output = finish(command)?;
    if !output.status.success() {
        let name = command.get_program().to_string_lossy().into_owned();
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{name}: {} ({})", said.trim(), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a program to its end, whatever its exit code.
pub fn finish(command: &mut Command) -> Result<Output> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.output().with_context(|| format!("cannot run {name}"))
}

/// A program of the system with its arguments.
pub fn system(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(find(program).unwrap_or_else(|| PathBuf::from(program)));
    command.args(arguments).env("PATH", SYSTEM_PATH);
    command
}

/// Where a program of the system lies, if it is installed.
pub fn find(program: &str) -> Option<PathBuf> {
    SYSTEM_PATH.split(':').map(|folder| Path::new(folder).join(program)).find(|path| path.is_file())
}

pub fn is_root() -> bool {
    run(&mut system("id", &["-u"])).is_ok_and(|id| id.trim() == "0")
}

/// Installs a package that is missing, on Debian and as root.
pub fn install(package: &str) -> Result<()> {
    if !is_root() || find("apt-get").is_none() {
        bail!("install the package {package}, or run this as root on Debian: it is missing");
    }
    run(&mut system("apt-get", &["update", "-q"]))?;
    let mut install = system("apt-get", &["install", "-y", "-q", "--no-install-recommends", package]);
    run(install.env("DEBIAN_FRONTEND", "noninteractive"))?;
    Ok(())
}

/// Asks again and again until the condition holds, and fails when the time is over.
pub fn wait_until(what: &str, limit: Duration, mut holds: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !holds() {
        if Instant::now() >= deadline {
            bail!("{what}: not within {} s", limit.as_secs());
        }
        sleep(Duration::from_millis(20));
    }
    Ok(())
}
