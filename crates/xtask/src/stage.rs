//! What tests and the demonstration stand on: a cluster that was named or our own, Helm, and the
//! workspace's programs. What is missing is made; Go and Rust are built side by side.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, anyhow, bail};

use crate::cluster;
use crate::progress::step;
use crate::workspace::{self, Profile};

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
    /// is started; never the current context by itself. `build` builds with `profile`.
    pub fn set(context: Option<String>, profile: Profile, build: &mut Command) -> Result<Self> {
        let (ground, built) = thread::scope(|scope| {
            let ground = scope.spawn(|| ground(context));
            let built = step("build the workspace", || workspace::show(build));
            (ground.join().unwrap_or_else(|_| Err(anyhow!("preparing the cluster panicked"))), built)
        });
        built?;
        let (kubeconfig, context, helm, registry) = ground?;
        Ok(Self { kubeconfig, context, helm, registry, program: workspace::program(profile, "seatrial")? })
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
    let kubeconfig = kubeconfig_with(&context, std::env::var_os("KUBECONFIG"), std::env::var_os("HOME"))?;
    let helm = std::env::var_os("SEATRIAL_TEST_HELM").map_or_else(|| PathBuf::from("helm"), PathBuf::from);
    let registry = std::env::var("SEATRIAL_TEST_REGISTRY").context(
        "a named cluster needs a registry it can pull from and this machine can push to: set SEATRIAL_TEST_REGISTRY to HOST:PORT, holding the sample image as shop:base",
    )?;
    Ok((kubeconfig, Some(context), helm, registry))
}

/// The one file that has the context, by what `KUBECONFIG` says, or at its usual place in `HOME`.
fn kubeconfig_with(context: &str, variable: Option<OsString>, home: Option<OsString>) -> Result<PathBuf> {
    let named: Vec<PathBuf> = match variable.filter(|value| !value.is_empty()) {
        Some(value) => std::env::split_paths(&value).filter(|file| !file.as_os_str().is_empty()).collect(),
        None => home.map(|home| Path::new(&home).join(".kube/config")).into_iter().collect(),
    };
    let shown = named.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    // As kubectl does: of several files, some need not exist.
    let mut found = named.into_iter().filter(|file| file.is_file());
    match (found.next(), found.next()) {
        // Tests run in folders of their own.
        (Some(file), None) => Ok(std::path::absolute(file)?),
        (Some(_), Some(_)) => bail!(
            "KUBECONFIG names several files ({shown}), and only one can be used here: put what context {context} needs into one with `kubectl config view --minify --flatten --context {context} > FILE`, and set KUBECONFIG to that"
        ),
        (None, _) if shown.is_empty() => {
            bail!("context {context} was named, but there is no kubeconfig: set KUBECONFIG to the file that has it")
        }
        (None, _) => bail!(
            "context {context} was named, but there is no kubeconfig at {shown}: set KUBECONFIG to the file that has it"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_kubeconfig_is_used_and_several_are_refused() {
        let folder = std::env::temp_dir().join(format!("seatrial-xtask-kubeconfig-{}", std::process::id()));
        std::fs::create_dir_all(folder.join(".kube")).expect("a folder for the test");
        let (first, second, usual) = (folder.join("first"), folder.join("second"), folder.join(".kube/config"));
        for file in [&first, &second, &usual] {
            std::fs::write(file, "").expect("a file for the test");
        }
        let variable = |files: &[&Path]| Some(std::env::join_paths(files).expect("paths without a colon"));
        let look = |variable| kubeconfig_with("shop", variable, Some(folder.clone().into_os_string()));
        let missing = folder.join("missing");

        let one = look(variable(&[&first]));
        let none_set = look(None);
        let empty = look(Some(OsString::new()));
        let one_exists = look(variable(&[&missing, &second, Path::new("")]));
        let several = look(variable(&[&first, &second]));
        let absent = look(variable(&[&missing]));
        let homeless = kubeconfig_with("shop", None, None);
        std::fs::remove_dir_all(&folder).expect("the test's folder goes away");

        assert_eq!(one.expect("one file"), first);
        assert_eq!(none_set.expect("the usual file"), usual);
        assert_eq!(empty.expect("empty counts as not set"), usual);
        assert_eq!(one_exists.expect("the file that exists"), second);
        let several = several.expect_err("two files").to_string();
        assert!(several.contains("first, ") && several.contains("--flatten --context shop"), "{several}");
        let absent = absent.expect_err("no file").to_string();
        assert!(absent.contains("missing"), "{absent}");
        assert!(homeless.is_err());
    }
}
