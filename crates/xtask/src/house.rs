//! What holds for the house as a whole: its form, its lints, which way imports point, its
//! licences, its links.

mod imports;
mod links;
mod tools;

use anyhow::Result;

use crate::progress::step;
use crate::workspace::{cargo, plain_cargo, show};

/// All checks; the first that fails ends it.
pub fn check() -> Result<()> {
    step("formatting", || show(plain_cargo("fmt").args(["--all", "--check"])))?;
    step("import directions", imports::check)?;
    step("links in the docs", links::check)?;
    step("lints", || show(cargo("clippy").args(["--all-targets", "--quiet", "--", "--deny", "warnings"])))?;
    step("licences, bans and sources", tools::deny)?;
    step("unused dependencies", tools::shear)
}
