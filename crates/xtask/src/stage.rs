//! What tests and the demonstration stand on: a cluster that was named or our own, Helm, and the
//! workspace's programs. What is missing is made; Go and Rust are built side by side.

use std::path::PathBuf;
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow};

use crate::cluster;
use crate::progress::step;
use crate::workspace;

/// Ready for the end-to-end tests and the demonstration.
pub struct Stage {
    kubeconfig: PathBuf,
    context: Option<String>,
    helm: PathBuf,
    registry: String,
    program: PathBuf,
}

impl Stage {
    /// Makes what is missing. With `context`, that context of `KUBECONFIG` is used, and nothing
    /// is started; never the current context by itself.
    pub fn set(context: Option<String>, build: &mut Command) -> Result<Self> {
        let (ground, built) = thread::scope(|scope| {
            let ground = scope.spawn(|| ground(context));
            let built = step("build the workspace", || workspace::show(build));
            (ground.join().unwrap_or_else(|_| Err(anyhow!("preparing the cluster panicked"))), built)
        });
        built?;
        let (kubeconfig, context, helm, registry) = ground?;
        Ok(Self { kubeconfig, context, helm, registry, program: workspace::program("seatrial")? })
    }

    /// Tells a test or the demonstration where everything is.
    pub fn describe(&self, command: &mut Command) {
        command
            .env("SEATRIAL_TEST_KUBECONFIG", &self.kubeconfig)
            .env("SEATRIAL_TEST_HELM", &self.helm)
            .env("SEATRIAL_TEST_REGISTRY", &self.registry)
            .env("SEATRIAL_TEST_PROGRAM", &self.program);
        if let Some(context) = &self.context {
            command.env("SEATRIAL_TEST_CONTEXT", context);
        }
    }
}

type Ground = (PathBuf, Option<String>, PathBuf, String);

fn ground(context: Option<String>) -> Result<Ground> {
    let Some(context) = context else {
        let cluster = cluster::up()?;
        return Ok((cluster.kubeconfig, None, cluster.helm, cluster.registry));
    };
    let kubeconfig = std::env::var_os("KUBECONFIG")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".kube/config")))
        .filter(|file| file.is_file())
        .with_context(|| format!("context {context} was named, but there is no kubeconfig: set KUBECONFIG"))?;
    let helm = std::env::var_os("SEATRIAL_TEST_HELM").map_or_else(|| PathBuf::from("helm"), PathBuf::from);
    let registry = std::env::var("SEATRIAL_TEST_REGISTRY").context(
        "a named cluster needs a registry it can pull from and this machine can push to: set SEATRIAL_TEST_REGISTRY to HOST:PORT, holding the sample image as shop:base",
    )?;
    Ok((kubeconfig, Some(context), helm, registry))
}
