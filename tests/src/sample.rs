//! The repository of a world: the sample application's chart and settings, and changes to them.

use std::path::{Path, PathBuf};

use anyhow::Result;
use seatrial_github_standin::{FileContent, Files, files_of};

/// The settings of `acme/shop`: the chart in the repository, the commit's own image, and a health
/// check. `more` follows; a key of it must not be one of these.
pub fn settings(image: &str, more: &str) -> String {
    let unless_given = |key: &str, line: String| if more.contains(&format!("{key}:")) { String::new() } else { line };
    format!(
        "version: 1\nchart: {{ path: chart }}\n{}values: {{ number: \"{{number}}\", host: \"{{host}}\" }}\n{}{}",
        unless_given("image", format!("image: {{ repository: {image} }}\n")),
        unless_given("health", "health: { path: /healthz }\n".to_owned()),
        more.replace("{image}", image),
    )
}

/// The files on `main`.
pub(crate) fn repository(settings: Option<&str>) -> Result<Files> {
    let mut files: Files = files_of(&folder().join("chart"))?
        .into_iter()
        .map(|(path, content)| (format!("chart/{path}"), content))
        .collect();
    files.insert("README.md".to_owned(), "# Shop\n".into());
    if let Some(settings) = settings {
        files.insert(".seatrial.yaml".to_owned(), settings.into());
    }
    Ok(files)
}

/// What a commit changes, and whether its image was built.
#[derive(Clone, Debug)]
pub struct Change {
    pub(crate) files: Files,
    pub(crate) has_image: bool,
}

impl Change {
    /// A page of the application; nothing that matters to Kubernetes but the commit.
    pub fn page(text: &str) -> Self {
        let files = Files::from([("page.html".to_owned(), FileContent::from(text))]);
        Self { files, has_image: true }
    }

    /// The chart's own values, with some that differ: `("crash", "true")`.
    ///
    /// # Panics
    /// When the sample's chart has no such value.
    pub fn values(values: &[(&str, &str)]) -> Self {
        let text = chart_values(values);
        Self { files: Files::from([("chart/values.yaml".to_owned(), text.into())]), has_image: true }
    }

    /// The chart's deployment, with some lines more before this one.
    ///
    /// # Panics
    /// When the sample's deployment has no such line.
    pub fn deployment(before: &str, more: &str) -> Self {
        const PATH: &str = "chart/templates/deployment.yaml";
        let file = folder().join(PATH);
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(text.contains(before), "the sample's deployment has no line {before:?}");
        let text = text.replacen(before, &format!("{more}{before}"), 1);
        Self { files: Files::from([(PATH.to_owned(), text.into())]), has_image: true }
    }

    /// The chart's deployment without a number of replicas, and a page.
    pub fn without_replicas(text: &str) -> Self {
        const LINE: &str = "  replicas: {{ .Values.replicas }}\n";
        let mut change = Self::deployment(LINE, "");
        for content in change.files.values_mut() {
            if let FileContent::Text(deployment) = content {
                *deployment = deployment.replace(LINE, "");
            }
        }
        change.file("page.html", text)
    }

    #[must_use]
    pub fn file(mut self, path: &str, content: &str) -> Self {
        self.files.insert(path.to_owned(), content.into());
        self
    }

    /// The build of the commit's image failed, or has not ended.
    #[must_use]
    pub fn without_image(mut self) -> Self {
        self.has_image = false;
        self
    }
}

/// # Panics
/// When the sample's chart has no such value.
fn chart_values(values: &[(&str, &str)]) -> String {
    let file = folder().join("chart/values.yaml");
    let mut text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    for (key, value) in values {
        let line = text.lines().find(|line| line.starts_with(&format!("{key}:")));
        let line = line.unwrap_or_else(|| panic!("the sample's chart has no value {key}")).to_owned();
        text = text.replace(&line, &format!("{key}: {value}"));
    }
    text
}

/// Writes the sample's chart into a folder, under another name and with other values.
pub(crate) fn write_chart(into: &Path, name: &str, values: &[(&str, &str)]) -> Result<()> {
    let from = folder().join("chart");
    std::fs::create_dir_all(into.join("templates"))?;
    for template in std::fs::read_dir(from.join("templates"))? {
        let template = template?;
        std::fs::copy(template.path(), into.join("templates").join(template.file_name()))?;
    }
    let about = std::fs::read_to_string(from.join("Chart.yaml"))?;
    let about =
        about.lines().map(|line| if line.starts_with("name:") { format!("name: {name}") } else { line.to_owned() });
    std::fs::write(into.join("Chart.yaml"), about.collect::<Vec<_>>().join("\n") + "\n")?;
    std::fs::write(into.join("values.yaml"), chart_values(values))?;
    Ok(())
}

impl From<Change> for Files {
    fn from(change: Change) -> Self {
        change.files
    }
}

fn folder() -> PathBuf {
    crate::folder().join("sample")
}
