//! Starting programs that outlive this one, and knowing them again later.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::layout::Layout;
use super::parts::Part;
use crate::shell;

/// A process that the cluster started. The number alone would be somebody else's one day; with
/// the moment of its start it is this process or none.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct Process {
    id: u32,
    /// In the system's ticks since it booted.
    started: u64,
}

impl Process {
    /// The process that has this number now.
    pub fn find(id: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let started = start_of_living(&stat)?;
        Some(Self { id, started })
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    pub fn is_alive(&self) -> bool {
        Self::find(self.id).as_ref() == Some(self)
    }
}

/// The time of the start in `/proc/…/stat`, unless the process is dead and only waits to be
/// asked for its exit code.
fn start_of_living(stat: &str) -> Option<u64> {
    // The name before may hold spaces and brackets of its own.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    if state == "Z" || state == "X" {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// Ends processes at once: nothing that they could still save outlives the cluster.
pub fn kill(processes: &[Process]) -> Result<()> {
    let living: Vec<_> = processes.iter().filter(|process| process.is_alive()).collect();
    if living.is_empty() {
        return Ok(());
    }
    let mut command = shell::system("sh", &["-c", r#"kill -s KILL "$@""#, "sh"]);
    command.args(living.iter().map(|process| process.id.to_string()));
    // One that ended by itself meanwhile makes it fail; who is left is asked below.
    shell::finish(&mut command)?;
    shell::wait_until("the end of killed processes", std::time::Duration::from_secs(20), || {
        living.iter().all(|process| !process.is_alive())
    })
}

/// Starts a part in a session of its own, away from this terminal, and remembers it.
pub fn start(layout: &Layout, part: &Part) -> Result<Process> {
    let log = File::create(layout.log(part.name))?;
    let program = part.program.to_string_lossy();
    let child = shell::system("setsid", &[&program])
        .args(&part.arguments)
        // Nothing of the caller's reaches the cluster, above all no KUBECONFIG.
        .env_clear()
        .env("PATH", shell::SYSTEM_PATH)
        .env("HOME", &layout.dir)
        .current_dir(&layout.dir)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("cannot start {}", part.name))?;
    let process = Process::find(child.id()).with_context(|| died(layout, part.name))?;
    fs::write(record(layout, part.name), serde_json::to_vec(&process)?)?;
    Ok(process)
}

/// The part's process, if it was started, dead or alive.
pub fn recorded(layout: &Layout, part: &str) -> Option<Process> {
    serde_json::from_slice(&fs::read(record(layout, part)).ok()?).ok()
}

/// What to say of a part that ended by itself: the end of its log.
pub fn died(layout: &Layout, part: &str) -> String {
    let path = layout.log(part);
    let log = fs::read(&path).unwrap_or_default();
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<_> = log.lines().collect();
    let last = lines[lines.len().saturating_sub(8)..].join("\n");
    format!("{part} ended by itself; {} ends with:\n{last}", path.display())
}

fn record(layout: &Layout, part: &str) -> PathBuf {
    layout.dir.join("processes").join(part)
}

/// Everything below /proc whose command line the function accepts.
pub fn find_by_command(accept: impl Fn(&[&str]) -> bool) -> Result<Vec<Process>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(Path::new("/proc"))? {
        let name = entry?.file_name();
        let Ok(id) = name.to_string_lossy().parse() else {
            continue;
        };
        // Processes come and go while the list is read.
        let command = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command);
        let words: Vec<_> = command.trim_end_matches('\0').split('\0').collect();
        if accept(&words) {
            found.extend(Process::find(id));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_again() {
        let own = Process::find(std::process::id()).expect("this process lives");
        assert!(own.is_alive());
        let later = Process { started: own.started + 1, ..own };
        assert!(!later.is_alive(), "another process with the same number");
    }

    #[test]
    fn starts_are_read_whatever_the_name() {
        let stat = |name: &str, state: &str| {
            let between = "0 ".repeat(18);
            format!("7 ({name}) {state} {between}4711 0 0")
        };
        assert_eq!(start_of_living(&stat("etcd", "S")), Some(4711));
        assert_eq!(start_of_living(&stat("a) R 1 (b", "S")), Some(4711));
        assert_eq!(start_of_living(&stat("etcd", "Z")), None);
        assert_eq!(start_of_living("nonsense"), None);
    }

    #[test]
    fn processes_are_found_by_their_command() -> Result<()> {
        let own = std::env::current_exe()?;
        let found = find_by_command(|words| Path::new(words[0]) == own)?;
        assert!(found.iter().any(|process| process.id() == std::process::id()));
        Ok(())
    }
}
