//! What the cluster changes on the machine, and how all of it goes again: also after a cluster
//! that was killed, whose pods run on without it.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::layout::{self, BRIDGE, CONTROL_GROUP, Layout, RULES};
use super::{parts, process};
use crate::shell::{self, run, system};

/// Kernel settings that the node's parts change: kept, to be set back.
const SETTINGS: [&str; 7] = [
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// Marks a state folder, since such a folder is removed with all that is in it.
const MARK: &str = "seatrial-cluster";

/// Makes the state folder, the bridge, the packet rules and the control group.
pub fn prepare(layout: &Layout) -> Result<()> {
    for folder in ["logs", "processes"] {
        fs::create_dir_all(layout.dir.join(folder))?;
    }
    fs::write(layout.dir.join(MARK), "")?;
    keep_settings(layout)?;
    fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
    make_network(layout)?;
    for group in control_group_roots() {
        // Where there is one tree for everything (version 2), controllers are handed down.
        for controller in ["cpu", "cpuset", "memory", "pids", "io", "hugetlb"] {
            let _ = fs::write(group.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        fs::create_dir_all(group.join(CONTROL_GROUP))?;
    }
    Ok(())
}

fn make_network(layout: &Layout) -> Result<()> {
    let dir = layout.dir.to_string_lossy();
    let ip = |arguments: &[&str]| run(&mut system("ip", arguments)).map(drop);
    ip(&["link", "add", BRIDGE, "type", "bridge"])?;
    // An address that is set stays; otherwise it follows the pods that come and go.
    ip(&["link", "set", BRIDGE, "address", "02:5e:a7:00:00:01", "alias", &dir])?;
    ip(&["address", "add", layout::ADDRESS_WITH_PREFIX, "dev", BRIDGE])?;
    ip(&["link", "set", BRIDGE, "up"])?;
    let pods = layout::PODS;
    let rules = format!(
        "table ip {RULES} {{ chain postrouting {{ type nat hook postrouting priority srcnat; \
         ip saddr {pods} ip daddr != {pods} masquerade; }}; }}"
    );
    run(&mut system("nft", &[&rules])).map(drop)
}

/// Ends everything that the cluster of this state folder started and removes all that it made.
/// Does nothing if there is nothing.
pub fn remove(layout: &Layout) -> Result<()> {
    check_owner(layout)?;
    let recorded: Vec<_> = parts::NAMES.iter().filter_map(|name| process::recorded(layout, name)).collect();
    process::kill(&recorded)?;
    // Shims are told from another containerd's by the socket that they answer to.
    let socket = layout.containerd_socket().to_string_lossy().into_owned();
    process::kill(&process::find_by_command(|words| is_shim(words, &socket))?)?;
    end_control_groups()?;

    let shim_sockets = shim_sockets(layout);
    unmount(&layout.dir)?;
    remove_network()?;
    for socket in shim_sockets {
        let _ = fs::remove_file(socket);
    }
    for folder in ["/run/containerd/s", "/run/containerd"] {
        // Only what is empty: the machine's own containerd may use it too.
        let _ = fs::remove_dir(folder);
    }
    remove_links(Path::new("/var/log/containers"), &layout.dir)?;
    remove_network_results(Path::new("/var/lib/cni/results"))?;
    if layout.dir.join(MARK).exists() {
        remove_plugin_socket();
    }
    restore_settings(layout)?;
    remove_folder(&layout.dir)
}

/// One machine has room for one of these clusters; its bridge says which folder it is of.
fn check_owner(layout: &Layout) -> Result<()> {
    let alias = fs::read_to_string(format!("/sys/class/net/{BRIDGE}/ifalias")).unwrap_or_default();
    let owner = Path::new(alias.trim());
    let elsewhere = !alias.trim().is_empty() && owner != layout.dir && owner.join(MARK).exists();
    ensure!(
        !elsewhere,
        "this machine has a cluster in {0}: use it or remove it with SEATRIAL_CLUSTER_DIR={0}",
        owner.display()
    );
    Ok(())
}

fn is_shim(words: &[&str], socket: &str) -> bool {
    let shim = words[0].rsplit('/').next().is_some_and(|name| name.starts_with("containerd-shim"));
    shim && words.windows(2).any(|pair| pair == ["-address", socket])
}

/// The mounted trees of control groups: one for each controller, or one for all.
fn control_group_roots() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ');
            let (point, kind) = (fields.nth(1)?, fields.next()?);
            matches!(kind, "cgroup" | "cgroup2").then(|| PathBuf::from(unescape(point)))
        })
        .collect()
}

/// Ends the pods' processes, which are those in the cluster's control groups, and removes these.
fn end_control_groups() -> Result<()> {
    let mut groups = Vec::new();
    for root in control_group_roots() {
        inner_first(&root.join(CONTROL_GROUP), &mut groups);
    }
    let members = |group: &PathBuf| -> Vec<process::Process> {
        let listed = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
        listed.lines().filter_map(|id| process::Process::find(id.parse().ok()?)).collect()
    };
    // One that is ended may have started another just before.
    shell::wait_until("the end of the pods' processes", Duration::from_secs(20), || {
        let living: Vec<_> = groups.iter().flat_map(members).collect();
        living.is_empty() || process::kill(&living).is_err()
    })?;
    for group in groups {
        shell::wait_until(&format!("removing {}", group.display()), Duration::from_secs(10), || {
            fs::remove_dir(&group).is_ok() || !group.exists()
        })?;
    }
    Ok(())
}

/// A folder's folders and then itself, in the order in which they can be removed.
fn inner_first(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            inner_first(&entry.path(), found);
        }
    }
    found.push(folder.to_owned());
}

/// Sockets of shims lie in a folder that all of the machine's shims share; each shim's own
/// folder says which is its.
fn shim_sockets(layout: &Layout) -> Vec<PathBuf> {
    let tasks = layout.dir.join("containerd/state/io.containerd.runtime.v2.task/k8s.io");
    let entries = fs::read_dir(tasks).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let address = fs::read_to_string(entry.path().join("address")).ok()?;
            Some(PathBuf::from(address.trim().strip_prefix("unix://")?))
        })
        .collect()
}

fn unmount(dir: &Path) -> Result<()> {
    let below = || -> Result<Vec<String>> {
        let mounts = fs::read_to_string("/proc/mounts")?;
        Ok(mounts_below(&mounts, dir))
    };
    for point in below()? {
        let plain = shell::finish(&mut system("umount", &[&point]))?;
        if !plain.status.success() {
            run(&mut system("umount", &["--lazy", &point]))?;
        }
    }
    let left = below()?;
    ensure!(left.is_empty(), "still mounted: {}", left.join(", "));
    Ok(())
}

/// Mount points below a folder, the last one mounted first.
fn mounts_below(mounts: &str, dir: &Path) -> Vec<String> {
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(unescape);
    let mut below: Vec<_> = points.filter(|point| Path::new(point).starts_with(dir)).collect();
    below.reverse();
    below
}

/// The kernel writes spaces and the like in paths as `\040`.
fn unescape(path: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if first == b'\\' => {
                bytes.push(byte);
                rest = &after[3..];
            }
            _ => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Removes the tables of packet rules, and the bridge with the pods' ends of it. The bridge goes
/// last: while it is there, the tables are this cluster's and not another's.
fn remove_network() -> Result<()> {
    let bridge = Path::new("/sys/class/net").join(BRIDGE);
    if !bridge.exists() {
        return Ok(());
    }
    for (family, table) in [("ip", RULES), ("ip", "kube-proxy"), ("ip6", "kube-proxy")] {
        let known = shell::finish(&mut system("nft", &["list", "table", family, table]))?;
        if known.status.success() {
            run(&mut system("nft", &["delete", "table", family, table]))?;
        }
    }
    for port in fs::read_dir(bridge.join("brif"))?.flatten() {
        let name = port.file_name();
        // It may go by itself in this moment, with the pod's network.
        shell::finish(&mut system("ip", &["link", "delete", &name.to_string_lossy()]))?;
    }
    run(&mut system("ip", &["link", "delete", BRIDGE])).map(drop)
}

/// Removes the links in `folder` that lead below `target`, and the folder if nothing else is in it.
fn remove_links(folder: &Path, target: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if fs::read_link(entry.path()).is_ok_and(|leads_to| leads_to.starts_with(target)) {
            fs::remove_file(entry.path())?;
        }
    }
    let _ = fs::remove_dir(folder);
    Ok(())
}

/// Removes what the network's plugins noted about pods that did not end in an orderly way: one
/// file for a pod's own network, called after it, and one for its loopback.
fn remove_network_results(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pod = name.strip_prefix(BRIDGE).and_then(|rest| rest.strip_prefix('-')?.strip_suffix("-eth0"));
        if let Some(pod) = pod {
            let _ = fs::remove_file(folder.join(format!("cni-loopback-{pod}-lo")));
            fs::remove_file(entry.path())?;
        }
    }
    let _ = fs::remove_dir(folder);
    let _ = folder.parent().map(fs::remove_dir);
    Ok(())
}

/// The kubelet makes this socket in a folder that cannot be chosen.
fn remove_plugin_socket() {
    let folder = Path::new("/var/lib/kubelet/device-plugins");
    let socket = folder.join("kubelet.sock");
    // Somebody who answers is another kubelet.
    if UnixStream::connect(&socket).is_err() {
        let _ = fs::remove_file(socket);
    }
    // Only what is empty: others' files stay.
    let _ = fs::remove_dir(folder);
    let _ = fs::remove_dir("/var/lib/kubelet");
}

fn keep_settings(layout: &Layout) -> Result<()> {
    let current: BTreeMap<_, _> =
        SETTINGS.iter().filter_map(|name| Some((*name, fs::read_to_string(setting(name)).ok()?))).collect();
    Ok(fs::write(layout.dir.join("settings.json"), serde_json::to_vec(&current)?)?)
}

fn restore_settings(layout: &Layout) -> Result<()> {
    let kept = match fs::read(layout.dir.join("settings.json")) {
        Ok(kept) => kept,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let kept: BTreeMap<String, String> = serde_json::from_slice(&kept)?;
    for (name, value) in kept {
        let path = setting(&name);
        if fs::read_to_string(&path)? != value {
            fs::write(&path, value.trim()).with_context(|| format!("cannot set {name} back"))?;
        }
    }
    Ok(())
}

fn setting(name: &str) -> PathBuf {
    Path::new("/proc/sys").join(name)
}

fn remove_folder(dir: &Path) -> Result<()> {
    if !dir.exists() || fs::read_dir(dir)?.next().is_none() {
        return Ok(());
    }
    if !dir.join(MARK).exists() {
        bail!("{} is not empty and no cluster's folder: choose another", dir.display());
    }
    fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_found_last_first() {
        let mounts = "proc /proc proc rw 0 0\n\
            tmpfs /c/one tmpfs rw 0 0\n\
            tmpfs /c/one/two\\040parts tmpfs rw 0 0\n\
            tmpfs /cluster tmpfs rw 0 0\n";
        assert_eq!(mounts_below(mounts, Path::new("/c")), ["/c/one/two parts", "/c/one"]);
    }

    #[test]
    fn only_the_clusters_own_shims_count() {
        let shim = ["/usr/bin/containerd-shim-runc-v2", "-namespace", "k8s.io", "-address", "/c/containerd.sock"];
        assert!(is_shim(&shim, "/c/containerd.sock"));
        assert!(!is_shim(&shim, "/run/containerd/containerd.sock"));
        assert!(!is_shim(&["/bin/other", "-address", "/c/containerd.sock"], "/c/containerd.sock"));
    }

    #[test]
    fn only_the_clusters_own_network_results_go() -> Result<()> {
        let parent = std::env::temp_dir().join(format!("seatrial-results-{}", std::process::id()));
        let folder = parent.join("results");
        fs::create_dir_all(&folder)?;
        for name in ["seatrial0-a1-eth0", "cni-loopback-a1-lo", "cni-loopback-b2-lo", "other-b2-eth0"] {
            fs::write(folder.join(name), "")?;
        }
        remove_network_results(&folder)?;
        let mut left: Vec<_> = fs::read_dir(&folder)?.flatten().map(|entry| entry.file_name()).collect();
        left.sort();
        assert_eq!(left, ["cni-loopback-b2-lo", "other-b2-eth0"]);
        Ok(fs::remove_dir_all(&parent)?)
    }

    #[test]
    fn a_folder_of_somebody_else_stays() -> Result<()> {
        let dir = std::env::temp_dir().join(format!("seatrial-folder-{}", std::process::id()));
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("letter"), "")?;
        assert!(remove_folder(&dir).is_err());
        fs::write(dir.join(MARK), "")?;
        remove_folder(&dir)?;
        assert!(!dir.exists());
        Ok(())
    }
}
