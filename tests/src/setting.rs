//! What `cargo xtask` has prepared, as environment variables say.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// Where the parts are that tests cannot make themselves.
#[derive(Clone, Debug)]
pub struct Setting {
    /// An administrator's kubeconfig of the cluster that was named for tests. `KUBECONFIG`
    /// is not read here.
    pub kubeconfig: PathBuf,
    pub context: Option<String>,
    pub helm: PathBuf,
    /// Host and port of a registry that holds `shop:base` and that nodes pull from by this name.
    pub registry: String,
    /// The built `seatrial`.
    pub program: PathBuf,
}

impl Setting {
    pub fn from_environment() -> Result<Self> {
        let Some(kubeconfig) = read("SEATRIAL_TEST_KUBECONFIG") else {
            bail!(
                "SEATRIAL_TEST_KUBECONFIG is not set: run `cargo xtask test --ring cluster` (or `cargo xtask demo`), which prepares a cluster and sets it"
            );
        };
        let needed = |name: &str| read(name).with_context(|| format!("{name} is not set; `cargo xtask` sets it"));
        let setting = Self {
            kubeconfig: kubeconfig.into(),
            context: read("SEATRIAL_TEST_CONTEXT"),
            helm: needed("SEATRIAL_TEST_HELM")?.into(),
            registry: read("SEATRIAL_TEST_REGISTRY").unwrap_or_else(|| "localhost:5000".to_owned()),
            program: needed("SEATRIAL_TEST_PROGRAM")?.into(),
        };
        for file in [&setting.kubeconfig, &setting.program] {
            if !file.is_file() {
                bail!("{} does not exist", file.display());
            }
        }
        Ok(setting)
    }
}

fn read(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
