//! What the machine must have, and installing what Debian can give.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::layout;
use crate::shell;

/// A file of each Debian package that the node needs.
const PACKAGES: [(&str, &str); 5] = [
    ("containerd", "containerd"),
    ("runc", "runc"),
    ("containernetworking-plugins", "/usr/lib/cni/bridge"),
    ("nftables", "nft"),
    ("iproute2", "ip"),
];

const GO: (u32, u32) = (1, 25);

/// Fails with everything that is missing and that only the reader can provide.
pub fn check_build() -> Result<()> {
    let version = shell::run(Command::new("go").args(["env", "GOVERSION"])).ok();
    let wanted = format!("Go {}.{} or newer", GO.0, GO.1);
    match version.as_deref().map(|text| (text.trim(), go_version(text))) {
        Some((_, Some(found))) if found >= GO => Ok(()),
        Some((text, _)) => bail!("{wanted} is needed to build the cluster; found {text}"),
        None => bail!("{wanted} is needed to build the cluster; there is no `go` in PATH"),
    }
}

/// Fails unless a node can run here: Linux, and root, since it makes networks and mounts.
pub fn check_machine() -> Result<()> {
    let mut missing = Vec::new();
    if !cfg!(target_os = "linux") {
        missing.push("Linux");
    }
    if fs::metadata("/proc/self").is_ok_and(|process| process.uid() != 0) {
        missing.push("root (the node makes networks, mounts and control groups)");
    }
    if !missing_packages().is_empty() && shell::find("apt-get").is_none() {
        missing.push("apt-get (Debian or a relative of it), to install containerd and runc");
    }
    if missing.is_empty() {
        return Ok(());
    }
    bail!("the own cluster needs {}; or name another one", missing.join(" and "))
}

/// Installs the Debian packages that are missing, if any.
pub fn install_packages() -> Result<()> {
    let missing = missing_packages();
    if missing.is_empty() {
        return Ok(());
    }
    crate::progress::step(&format!("install {}", missing.join(" ")), || {
        shell::run(&mut shell::system("apt-get", &["-q", "update"]))?;
        shell::run(
            shell::system("apt-get", &["-q", "-y", "--no-install-recommends", "install"])
                .args(&missing)
                .env("DEBIAN_FRONTEND", "noninteractive"),
        )?;
        Ok(())
    })
}

fn missing_packages() -> Vec<&'static str> {
    let installed = |file: &str| match file.starts_with('/') {
        true => Path::new(file).exists(),
        false => shell::find(file).is_some(),
    };
    PACKAGES.iter().filter(|(_, file)| !installed(file)).map(|(package, _)| *package).collect()
}

/// Fails if somebody else listens where the cluster must.
pub fn check_ports() -> Result<()> {
    for address in [layout::REGISTRY_ADDRESS, layout::ETCD_ADDRESS, layout::ETCD_PEER_ADDRESS] {
        if let Err(error) = TcpListener::bind(address) {
            bail!("the cluster needs {address}, which another program holds: {error}");
        }
    }
    Ok(())
}

/// Reads `go1.26.8` as (1, 26).
fn go_version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.trim().strip_prefix("go")?.split(['.', '-', ' ', 'r', 'b']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::go_version;

    #[test]
    fn go_versions_are_read() {
        assert_eq!(go_version("go1.26.8\n"), Some((1, 26)));
        assert_eq!(go_version("go1.25"), Some((1, 25)));
        assert_eq!(go_version("go1.25rc2"), Some((1, 25)));
        assert_eq!(go_version("devel +abc"), None);
        assert!(go_version("go1.9.7") < Some(super::GO));
    }
}
