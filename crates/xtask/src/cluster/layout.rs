//! Where everything of the cluster lies, and the names and addresses that it uses.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

pub const NODE: &str = "seatrial";
pub const BRIDGE: &str = "seatrial0";
/// The bridge's address is the node's: a node may not have a loopback address.
pub const ADDRESS: &str = "10.201.0.1";
pub const ADDRESS_WITH_PREFIX: &str = "10.201.0.1/22";
pub const PODS: &str = "10.201.0.0/22";
pub const SERVICES: &str = "10.202.0.0/20";
pub const SERVICE_ADDRESS: &str = "10.202.0.1";
pub const API_PORT: &str = "6443";
pub const REGISTRY: &str = "localhost:5000";
pub const REGISTRY_ADDRESS: &str = "127.0.0.1:5000";
pub const ETCD_ADDRESS: &str = "127.0.0.1:12379";
pub const ETCD_PEER_ADDRESS: &str = "127.0.0.1:12380";
/// All pods' processes are below this control group, which is how they are found and ended.
pub const CONTROL_GROUP: &str = "seatrial-cluster";
/// The table of packet rules that lets pods out into the world.
pub const RULES: &str = "seatrial-cluster";

/// The folders that the cluster uses outside the sources.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Executables and locks: outlives the cluster.
    cache: PathBuf,
    /// Everything that lives only as long as the cluster.
    pub dir: PathBuf,
}

impl Layout {
    /// Reads the folders from the environment.
    pub fn from_environment() -> Result<Self> {
        Self::new(|name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
    }

    fn new(variable: impl Fn(&str) -> Option<PathBuf>) -> Result<Self> {
        let cache = variable("XDG_CACHE_HOME")
            .or_else(|| variable("HOME").map(|home| home.join(".cache")))
            .context("neither XDG_CACHE_HOME nor HOME is set")?
            .join("seatrial");
        let dir = variable("SEATRIAL_CLUSTER_DIR").unwrap_or_else(|| cache.join("cluster"));
        for folder in [&cache, &dir] {
            ensure!(folder.is_absolute(), "{} is no absolute path", folder.display());
        }
        // The system's limit for a socket's path is 107 bytes.
        ensure!(
            dir.as_os_str().len() <= 80,
            "{} is too long a path for the cluster's sockets: set SEATRIAL_CLUSTER_DIR",
            dir.display()
        );
        Ok(Self { cache, dir })
    }

    pub fn cache(&self) -> &Path {
        &self.cache
    }

    pub fn bin(&self) -> PathBuf {
        self.cache.join("bin")
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    pub fn containerd_socket(&self) -> PathBuf {
        self.dir.join("containerd.sock")
    }

    pub fn log(&self, part: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{part}.log"))
    }

    /// The path of something in the state folder, as an argument.
    pub fn path(&self, relative: &str) -> String {
        self.dir.join(relative).to_string_lossy().into_owned()
    }
}

/// The repository's root.
pub fn sources() -> PathBuf {
    crate::workspace::root()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(variables: &[(&str, &str)]) -> Result<Layout> {
        Layout::new(|name| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(PathBuf::from(found.1))
        })
    }

    #[test]
    fn folders_follow_the_environment() -> Result<()> {
        let home = layout(&[("HOME", "/home/ada")])?;
        assert_eq!(home.dir, Path::new("/home/ada/.cache/seatrial/cluster"));
        let cache = layout(&[("HOME", "/home/ada"), ("XDG_CACHE_HOME", "/var/cache")])?;
        assert_eq!(cache.bin(), Path::new("/var/cache/seatrial/bin"));
        let own = layout(&[("HOME", "/home/ada"), ("SEATRIAL_CLUSTER_DIR", "/srv/c")])?;
        assert_eq!(own.kubeconfig(), Path::new("/srv/c/kubeconfig"));
        assert_eq!(own.bin(), Path::new("/home/ada/.cache/seatrial/bin"));
        Ok(())
    }

    #[test]
    fn unusable_folders_are_refused() {
        assert!(layout(&[]).is_err());
        assert!(layout(&[("HOME", "relative")]).is_err());
        let long = format!("/{}", "x".repeat(100));
        assert!(layout(&[("HOME", "/home/ada"), ("SEATRIAL_CLUSTER_DIR", &long)]).is_err());
    }
}
