//! The chart for repositories that have none.

use std::path::{Path, PathBuf};
use std::{fs, io};

/// `charts/preview` of Seatrial's repository, file by file.
static FILES: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/chart.rs"));

/// Writes the chart into the folder and returns where it is.
pub(crate) fn write(folder: &Path) -> io::Result<PathBuf> {
    let chart = folder.join("preview");
    for (name, content) in FILES {
        let path = chart.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, content)?;
    }
    Ok(chart)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chart_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let chart = write(folder.path()).unwrap();
        assert!(chart.join("Chart.yaml").is_file());
        assert!(chart.join("values.yaml").is_file());
        assert!(chart.join("templates").is_dir());
    }
}
