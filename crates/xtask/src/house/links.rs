//! Links in the docs lead somewhere.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::shell;
use crate::workspace::root;

/// Every relative link of every Markdown file that git knows names something that exists.
pub fn check() -> Result<()> {
    let mut list = std::process::Command::new("git");
    list.current_dir(root()).args(["ls-files", "--cached", "--others", "--exclude-standard", "*.md"]);
    let mut broken = Vec::new();
    for file in shell::run(&mut list)?.lines() {
        let text = fs::read_to_string(root().join(file))?;
        let folder = Path::new(file).parent().unwrap_or(Path::new("")).to_owned();
        for target in targets(&text) {
            if !root().join(resolve(&folder, target)).exists() {
                broken.push(format!("{file}: {target}"));
            }
        }
    }
    if broken.is_empty() {
        return Ok(());
    }
    bail!("links that lead nowhere:\n  {}", broken.join("\n  "))
}

/// The relative targets of `](target)` outside code blocks, without their fragments.
fn targets(text: &str) -> Vec<&str> {
    let mut targets = Vec::new();
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        }
        if in_code {
            continue;
        }
        for part in line.split("](").skip(1) {
            let target = part.split(')').next().unwrap_or_default();
            let path = target.split('#').next().unwrap_or_default();
            if !path.is_empty() && !path.contains("://") && !path.starts_with("mailto:") {
                targets.push(path);
            }
        }
    }
    targets
}

fn resolve(folder: &Path, target: &str) -> PathBuf {
    match target.strip_prefix('/') {
        Some(from_root) => PathBuf::from(from_root),
        None => folder.join(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_relative_links_outside_code_are_looked_at() {
        let text = "[a](b.md#x) [c](https://example.com) [d](#here)\n```\n[e](f.md)\n```\n![g](docs/h.png)";
        assert_eq!(targets(text), ["b.md", "docs/h.png"]);
    }
}
