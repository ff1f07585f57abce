//! The values files helm is given, in the order in which later ones win.

use std::fs;
use std::path::{Path, PathBuf};

use seatrial_preview::{Error, Result};

use crate::chart;

const FILE_LIMIT: u64 = 1024 * 1024;
const MOST_FILES: usize = 20;

/// A values file as helm gets it, and what people call it.
pub(crate) struct ValuesFile {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
}

/// Copies the repository's files under names of our own (helm splits paths at commas and takes
/// some for URLs), then writes `values`, which wins over them.
pub(crate) fn lay_out(
    tree: Option<&Path>,
    files: &[String],
    values: &serde_json::Value,
    into: &Path,
) -> Result<Vec<ValuesFile>> {
    if files.len() > MOST_FILES {
        return Err(Error::invalid(format!("there are {} values files; at most {MOST_FILES} are read", files.len())));
    }
    let mut laid_out = Vec::new();
    for (index, name) in files.iter().enumerate() {
        let tree =
            tree.ok_or_else(|| Error::invalid(format!("the values file {name} needs the repository's source")))?;
        let source =
            chart::resolve(tree, name).filter(|path| path.is_file()).ok_or_else(|| Error::diagnosed(missing(name)))?;
        let size = source.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        if size > FILE_LIMIT {
            return Err(Error::invalid(format!("the values file {name} is larger than 1 MiB, which is the limit")));
        }
        let path = into.join(format!("{index}.yaml"));
        fs::copy(&source, &path).map_err(unwritable)?;
        laid_out.push(ValuesFile { path, name: name.clone() });
    }
    if !matches!(values, serde_json::Value::Null | serde_json::Value::Object(_)) {
        return Err(Error::invalid("the values are not a mapping of names to values"));
    }
    let path = into.join("computed.yaml");
    let text = if values.is_null() { "{}".to_owned() } else { values.to_string() };
    fs::write(&path, text).map_err(unwritable)?;
    laid_out.push(ValuesFile { path, name: "the settings' values".to_owned() });
    Ok(laid_out)
}

fn missing(name: &str) -> seatrial_preview::failure::Diagnosis {
    chart::invalid(
        format!("values file {name:?}"),
        format!("The values file {name} does not exist at this commit."),
        "Add the file, or correct valuesFiles in .seatrial.yaml on the base branch.",
    )
}

fn unwritable(error: std::io::Error) -> Error {
    Error::transient(format!("the values cannot be written to the work folder: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn files_come_in_order_and_the_settings_last() {
        let folder = tempfile::tempdir().unwrap();
        let (tree, into) = (folder.path().join("tree"), folder.path().join("values"));
        fs::create_dir_all(tree.join("deploy")).unwrap();
        fs::create_dir_all(&into).unwrap();
        fs::write(tree.join("deploy/a,b.yaml"), "replicas: 1").unwrap();
        fs::write(tree.join("http:x.yaml"), "replicas: 2").unwrap();
        let files = ["deploy/a,b.yaml".to_owned(), "http:x.yaml".to_owned()];
        let laid_out = lay_out(Some(&tree), &files, &json!({"replicas": 3}), &into).unwrap();
        let texts: Vec<String> = laid_out.iter().map(|file| fs::read_to_string(&file.path).unwrap()).collect();
        assert_eq!(texts, ["replicas: 1", "replicas: 2", "{\"replicas\":3}"]);
        assert!(laid_out.iter().all(|file| !file.path.display().to_string().contains(',')));
    }

    #[test]
    fn files_outside_the_tree_do_not_exist() {
        let folder = tempfile::tempdir().unwrap();
        let tree = folder.path().join("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(folder.path().join("secret"), "x: y").unwrap();
        std::os::unix::fs::symlink("../secret", tree.join("link")).unwrap();
        for name in ["../secret", "/etc/passwd", "link", "missing.yaml", "."] {
            let result = lay_out(Some(&tree), &[name.to_owned()], &json!({}), folder.path());
            assert!(result.err().unwrap().message.contains("does not exist"), "{name}");
        }
        assert!(lay_out(None, &[], &json!(["a"]), folder.path()).is_err());
    }
}
