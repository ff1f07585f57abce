//! The charts, as Helm and people read them.

use std::process::Command;

use anyhow::{Result, ensure};

use crate::cluster;
use crate::shell;
use crate::workspace::{root, show};

/// Lints both charts strictly and renders them with the values people would set; what must be
/// refused is refused.
pub fn check() -> Result<()> {
    let helm = cluster::build()?.helm;
    let chart = |name: &str| root().join("charts").join(name);
    let image = ["--set", "image.repository=registry.example/shop", "--set", "image.tag=v1"];
    show(Command::new(&helm).args(["lint", "--strict"]).arg(chart("seatrial")))?;
    show(Command::new(&helm).args(["lint", "--strict"]).arg(chart("preview")).args(image))?;

    let template = |name: &str, values: &[&str]| {
        shell::finish(Command::new(&helm).args(["template", "x"]).arg(chart(name)).args(values))
    };
    for (name, values) in [
        ("seatrial", &["--set", "server.enabled=false"][..]),
        ("preview", &image),
        ("preview", &["--set", "image.repository=registry.example/shop", "--set", "replicas=2", "--set", "port=3000"]),
    ] {
        let rendered = template(name, values)?;
        ensure!(
            rendered.status.success(),
            "charts/{name} with {values:?} does not render: {}",
            String::from_utf8_lossy(&rendered.stderr)
        );
    }
    for (what, name, values) in [
        ("an image without a repository", "preview", &[][..]),
        ("a value it does not know", "preview", &["--set", "image.repository=x", "--set", "replicsa=2"]),
    ] {
        ensure!(!template(name, values)?.status.success(), "charts/{name} takes {what}");
    }
    Ok(())
}
