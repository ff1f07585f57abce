//! A disk that has lost its power: it holds what was synced, and of the rest nothing or any part.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use rand::Rng as _;
use rand::rngs::StdRng;

use crate::strace::Event;

/// What is written at once, or not at all.
const SECTOR: usize = 512;

/// The files of one folder whose names begin alike.
pub struct Disk {
    folder: PathBuf,
    prefix: String,
    files: Vec<Content>,
    /// As the process sees them.
    names: BTreeMap<String, usize>,
    synced_names: BTreeMap<String, usize>,
    renames: Vec<Naming>,
    syncing: HashMap<u32, Syncing>,
}

#[derive(Default)]
struct Content {
    synced: Vec<u8>,
    changes: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Truncate(usize),
}

#[derive(Clone)]
enum Naming {
    Make(String, usize),
    Remove(String),
}

/// What a sync that has begun covers.
enum Syncing {
    File(usize, usize),
    Folder(usize),
    Other,
}

/// What becomes of what was not synced.
pub enum Loss<'a> {
    Everything,
    /// Each sector is there or not; of the names that were made and removed, the first so many.
    Some(&'a mut StdRng),
}

impl Disk {
    /// The database at `path`, with its journals; the shared memory beside it is none of the
    /// disk's business.
    pub fn of(path: &Path) -> Self {
        Self {
            folder: path.parent().unwrap().to_owned(),
            prefix: path.file_name().unwrap().to_str().unwrap().to_owned(),
            files: Vec::new(),
            names: BTreeMap::new(),
            synced_names: BTreeMap::new(),
            renames: Vec::new(),
            syncing: HashMap::new(),
        }
    }

    fn name(&self, path: &Path) -> Option<String> {
        let name = path.strip_prefix(&self.folder).ok()?.to_str()?;
        (name.starts_with(&self.prefix) && !name.ends_with("-shm")).then(|| name.to_owned())
    }

    /// The file that is there under that name, for the process.
    fn file(&self, path: &Path) -> Option<usize> {
        self.names.get(&self.name(path)?).copied()
    }

    pub fn apply(&mut self, event: &Event) {
        match event {
            Event::Make(path) => {
                if let Some(name) = self.name(path).filter(|name| !self.names.contains_key(name)) {
                    let file = self.files.len();
                    self.files.push(Content::default());
                    self.names.insert(name.clone(), file);
                    self.renames.push(Naming::Make(name, file));
                }
            }
            Event::Remove(path) => {
                if let Some(name) = self.name(path) {
                    self.names.remove(&name);
                    self.renames.push(Naming::Remove(name));
                }
            }
            Event::Write { file, at, bytes } => {
                if let Some(file) = self.file(file) {
                    self.files[file].changes.push(Change::Write { at: *at, bytes: bytes.clone() });
                }
            }
            Event::Truncate { file, to } => {
                if let Some(file) = self.file(file) {
                    self.files[file].changes.push(Change::Truncate(*to));
                }
            }
            Event::SyncBegins { thread, path } => {
                let syncing = match self.file(path) {
                    Some(file) => Syncing::File(file, self.files[file].changes.len()),
                    None if *path == self.folder => Syncing::Folder(self.renames.len()),
                    None => Syncing::Other,
                };
                self.syncing.insert(*thread, syncing);
            }
            Event::SyncEnds { thread } => match self.syncing.remove(thread) {
                Some(Syncing::File(file, changes)) => {
                    let content = &mut self.files[file];
                    for change in content.changes.drain(..changes) {
                        change.apply(&mut content.synced);
                    }
                }
                Some(Syncing::Folder(renames)) => {
                    for naming in self.renames.drain(..renames) {
                        naming.apply(&mut self.synced_names);
                    }
                }
                Some(Syncing::Other) | None => {}
            },
            Event::Says(_) => {}
        }
    }

    /// The files as they are found when the power comes back.
    pub fn after(&self, loss: Loss<'_>) -> BTreeMap<String, Vec<u8>> {
        let mut names = self.synced_names.clone();
        let mut contents: Vec<_> = self.files.iter().map(|content| content.synced.clone()).collect();
        if let Loss::Some(random) = loss {
            for naming in &self.renames[..random.random_range(0..=self.renames.len())] {
                naming.clone().apply(&mut names);
            }
            let kept = [0.1, 0.5, 0.9][random.random_range(0..3)];
            for (content, found) in self.files.iter().zip(&mut contents) {
                for change in content.changes.iter().flat_map(Change::sectors) {
                    if random.random_bool(kept) {
                        change.apply(found);
                    }
                }
            }
        }
        names.into_iter().map(|(name, file)| (name, contents[file].clone())).collect()
    }
}

impl Change {
    fn apply(self, content: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => {
                content.resize(content.len().max(at + bytes.len()), 0);
                content[at..at + bytes.len()].copy_from_slice(&bytes);
            }
            Self::Truncate(to) => content.resize(to, 0),
        }
    }

    /// The parts of it that can be lost by themselves.
    fn sectors(&self) -> Vec<Self> {
        let Self::Write { at, bytes } = self else { return vec![self.clone()] };
        let (mut at, mut rest, mut parts) = (*at, &bytes[..], Vec::new());
        while !rest.is_empty() {
            let (part, others) = rest.split_at(rest.len().min(SECTOR - at % SECTOR));
            parts.push(Self::Write { at, bytes: part.to_vec() });
            (at, rest) = (at + part.len(), others);
        }
        parts
    }
}

impl Naming {
    fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Make(name, file) => drop(names.insert(name, file)),
            Self::Remove(name) => drop(names.remove(&name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn only_what_was_synced_is_sure_to_be_there() {
        let file = PathBuf::from("/f/runs.db");
        let write = |at: usize, bytes: &[u8]| Event::Write { file: file.clone(), at, bytes: bytes.to_vec() };
        let sync =
            |path: &Path| [Event::SyncBegins { thread: 1, path: path.to_owned() }, Event::SyncEnds { thread: 1 }];
        let mut disk = Disk::of(&file);
        let mut all = vec![Event::Make(file.clone()), write(0, b"one")];
        all.extend(sync(&file));
        all.iter().for_each(|event| disk.apply(event));
        assert!(disk.after(Loss::Everything).is_empty(), "its name is not synced");
        sync(Path::new("/f")).iter().for_each(|event| disk.apply(event));
        disk.apply(&Event::SyncBegins { thread: 2, path: file.clone() });
        disk.apply(&write(510, &[7; 4]));
        disk.apply(&Event::SyncEnds { thread: 2 });
        assert_eq!(disk.after(Loss::Everything)["runs.db"], b"one", "the write came after the sync had begun");
        let mut found: Vec<_> = (0..64)
            .map(|seed| {
                let after = disk.after(Loss::Some(&mut StdRng::seed_from_u64(seed)));
                let part = |at| after["runs.db"].get(at..at + 2) == Some(&[7, 7]);
                (part(510), part(512))
            })
            .collect();
        found.sort_unstable();
        found.dedup();
        assert_eq!(found, [(false, false), (false, true), (true, false), (true, true)]);
    }
}
