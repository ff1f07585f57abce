//! Which Helm there is, and whether it is new enough.

use std::path::Path;

use seatrial_preview::{Error, Result};

use crate::process::INSTALL;

/// The oldest that is worked with. [`INSTALL`] and the README name it, too.
const OLDEST: (u32, u32) = (3, 14);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) major: u32,
    minor: u32,
    /// As the program says it: `v3.14.0+gabc`.
    pub(crate) text: String,
}

impl Version {
    /// Whether it can be told not to look at the schemas of values.
    pub(crate) fn can_skip_schemas(&self) -> bool {
        (self.major, self.minor) >= (3, 16)
    }

    /// Reads what `helm version --short` prints.
    ///
    /// # Errors
    /// `Invalid` when this is no version of Helm, or an older one than works.
    pub(crate) fn read(program: &Path, said: &str) -> Result<Self> {
        let found = said.lines().map(str::trim).find_map(|line| Some((line, numbers(line)?)));
        let program = program.display();
        match found {
            Some((text, numbers)) if numbers >= OLDEST => {
                Ok(Self { major: numbers.0, minor: numbers.1, text: text.to_owned() })
            }
            Some((text, _)) => Err(Error::invalid(format!("{program} is Helm {text}, which is too old; {INSTALL}"))),
            None => Err(Error::invalid(format!("{program} does not answer as Helm does; {INSTALL}"))),
        }
    }
}

/// Of `v3.14.0+gabc`, `v4.1` or `v12` the first two.
fn numbers(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.strip_prefix('v')?.split(|c: char| !c.is_ascii_digit());
    let major = parts.next()?.parse().ok()?;
    Some((major, parts.next().and_then(|minor| minor.parse().ok()).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(said: &str) -> Result<Version> {
        Version::read(Path::new("/opt/helm"), said)
    }

    #[test]
    fn new_enough_ones_are_read() {
        let said = ["v3.14.0+gabc\n", "WARNING: your kubeconfig is readable\nv4.1\n", "v4.0.0-rc.1", "v12", "v3.100.2"];
        assert_eq!(said.map(|said| read(said).unwrap().major), [3, 4, 4, 12, 3]);
        assert_eq!(read("v3.14.0+gabc\n").unwrap().text, "v3.14.0+gabc");
        let skipping = ["v3.14.0", "v3.15.9", "v3.16.0", "v4.0.0"].map(|said| read(said).unwrap().can_skip_schemas());
        assert_eq!(skipping, [false, false, true, true]);
    }

    #[test]
    fn older_ones_are_refused_with_what_is_needed() {
        for said in ["v3.13.3+gc8b9489", "v3.9.4", "v3", "v2.17.0"] {
            let error = read(said).unwrap_err().message;
            assert!(error.starts_with(&format!("/opt/helm is Helm {said}, which is too old; ")), "{error}");
            assert!(error.contains("install Helm 3.14 or newer") && error.contains("SEATRIAL_HELM"), "{error}");
        }
    }

    #[test]
    fn what_is_no_version_is_told() {
        for said in ["", "version 3.14", "v", "vim 9", "usage: helm"] {
            assert!(read(said).unwrap_err().message.contains("does not answer as Helm does"), "{said}");
        }
    }
}
