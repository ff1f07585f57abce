//! Unpacks the archive of a repository or a chart, which strangers may have made.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::read::GzDecoder;
use seatrial_preview::{Error, Result};
use tar::{Archive, EntryType};

/// What an archive may amount to.
pub(crate) struct Limits {
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
    /// Unpacked to packed; counts from the first 16 MiB on, as small texts compress well.
    pub(crate) ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 256 * 1024 * 1024, entries: 50_000, ratio: 200 }
    }
}

impl Limits {
    pub(crate) const CHART: Self = Self { bytes: 64 * 1024 * 1024, entries: 10_000, ratio: 200 };
}

const RATIO_FROM: u64 = 16 * 1024 * 1024;

/// Unpacks a `tar.gz` with one top folder into `into`, an empty folder, without the top folder.
///
/// Absolute paths, `..`, devices and anything over the limits are `Invalid`. Links are made last,
/// and those that lead out of the tree are left out. `stop` ends it early.
pub(crate) fn unpack(archive: &[u8], into: &Path, limits: &Limits, stop: &AtomicBool) -> Result<()> {
    let packed = archive.len() as u64;
    let allowed = limits.bytes.min(packed.saturating_mul(limits.ratio).max(RATIO_FROM));
    // Headers and padding count too: an archive of a million empty files is a bomb as well.
    let stream = GzDecoder::new(archive).take(allowed.saturating_add(limits.entries * 1024));
    let mut archive = Archive::new(stream);
    let mut links: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    let (mut entries, mut bytes) = (0, 0);
    for entry in archive.entries().map_err(unreadable)? {
        let mut entry = entry.map_err(unreadable)?;
        if stop.load(Ordering::Relaxed) {
            return Err(Error::transient("unpacking was given up"));
        }
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader) {
            continue;
        }
        entries += 1;
        if entries > limits.entries {
            return Err(Error::invalid(format!(
                "the archive has more than {} files, which is the limit for previews",
                limits.entries
            )));
        }
        let name = entry.path().map_err(unreadable)?.into_owned();
        let Some(path) = inside(&name)? else { continue };
        let target = into.join(&path);
        match kind {
            EntryType::Directory => folder(into, &path)?,
            EntryType::Regular | EntryType::Continuous => {
                bytes += entry.size();
                if bytes > allowed {
                    return Err(too_large(limits, packed));
                }
                if let Some(parent) = path.parent() {
                    folder(into, parent)?;
                }
                let mode = if entry.header().mode().unwrap_or_default() & 0o100 == 0 { 0o600 } else { 0o700 };
                let mut file = create(&target, mode).map_err(|error| unwritable(&name, &error))?;
                let size = entry.size();
                let copied =
                    io::copy(&mut (&mut entry).take(size), &mut file).map_err(|error| unwritable(&name, &error))?;
                if copied != size {
                    return Err(Error::invalid("the archive ends in the middle of a file"));
                }
            }
            EntryType::Symlink => {
                let to = entry.link_name().map_err(unreadable)?.unwrap_or_default().into_owned();
                links.insert(path, to);
            }
            // git has no hard links, so GitHub sends none.
            _ => {
                return Err(Error::invalid(format!(
                    "the archive has {} in it, which is neither a file, a folder nor a symbolic link",
                    shown(&name)
                )));
            }
        }
    }
    if entries == 0 {
        return Err(Error::invalid("the archive is empty"));
    }
    link(into, &links)
}

/// The entry's path below the top folder; `None` for the top folder itself.
fn inside(name: &Path) -> Result<Option<PathBuf>> {
    let mut path = PathBuf::new();
    let mut depth = 0;
    for component in name.components() {
        match component {
            Component::Normal(part) => {
                depth += 1;
                if depth > 1 {
                    path.push(part);
                }
            }
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(Error::invalid(format!("the archive has the path {}, which leads out of it", shown(name))));
            }
        }
    }
    if depth > 100 {
        return Err(Error::invalid("the archive has folders nested more than 100 deep"));
    }
    Ok((depth > 1).then_some(path))
}

/// Makes the folder. There are no links yet that it could lead through.
fn folder(root: &Path, path: &Path) -> Result<()> {
    fs::create_dir_all(root.join(path)).map_err(|error| unwritable(path, &error))
}

/// A file that is named twice counts as it was named last, as tar does.
fn create(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)
}

/// Makes the symbolic links that stay in the tree. Whether one does is asked of the file system,
/// because links may lead through one another.
fn link(root: &Path, links: &BTreeMap<PathBuf, PathBuf>) -> Result<()> {
    let root = root.canonicalize().map_err(|error| unwritable(root, &error))?;
    let mut made = Vec::new();
    for (path, to) in links {
        let target = root.join(path);
        let parent = target.parent().unwrap_or(&root);
        fs::create_dir_all(parent).map_err(|error| unwritable(path, &error))?;
        // A parent that is a link by now, or something in the link's place, is not git's doing.
        let clean = parent.canonicalize().is_ok_and(|real| real == parent) && target.symlink_metadata().is_err();
        if !clean {
            return Err(Error::invalid(format!("the archive has {} twice", shown(path))));
        }
        if to.is_absolute() {
            continue;
        }
        symlink(to, &target).map_err(|error| unwritable(path, &error))?;
        made.push(target);
    }
    // To remove one may leave others dangling, which is harmless: nothing is written any more.
    for target in made {
        if !target.canonicalize().is_ok_and(|real| real.starts_with(&root)) {
            fs::remove_file(&target).map_err(|error| unwritable(&target, &error))?;
        }
    }
    Ok(())
}

fn shown(path: &Path) -> String {
    format!("{:?}", path.display().to_string().chars().take(200).collect::<String>())
}

fn unreadable(error: io::Error) -> Error {
    Error::invalid(format!("the archive cannot be read: {error}"))
}

fn unwritable(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::PermissionDenied => {
            Error::transient(format!("there is no room in the work folder: {error}; make some"))
        }
        _ => Error::invalid(format!("{} of the archive cannot be unpacked: {error}", shown(path))),
    }
}

fn too_large(limits: &Limits, packed: u64) -> Error {
    let mib = |bytes: u64| bytes / (1024 * 1024);
    if packed.saturating_mul(limits.ratio).max(RATIO_FROM) < limits.bytes {
        Error::invalid(format!(
            "the archive unpacks to more than {} times its size, which no source code does",
            limits.ratio
        ))
    } else {
        Error::invalid(format!("the archive is larger than {} MiB unpacked, which is the limit", mib(limits.bytes)))
    }
}

#[cfg(test)]
#[path = "unpack_tests.rs"]
mod tests;
