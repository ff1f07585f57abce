//! A script in helm's place.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::Instant;

use super::*;
use crate::workspace::Instance;

struct Place {
    folder: tempfile::TempDir,
    workspace: Arc<Workspace>,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let instance = Arc::new(Instance::new(&folder.path().join("work")).unwrap());
        let workspace = Arc::new(Workspace::new(&instance, None).unwrap());
        Self { folder, workspace }
    }

    fn script(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("helm");
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn read(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.folder.path().join(name)).ok().filter(|text| !text.is_empty())
    }

    async fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let begun = Instant::now();
        while !condition() {
            assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn alive(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn the_environment_holds_nothing_of_ours() {
    let place = Place::new();
    let program = place.script("env; echo to-stderr >&2; exit 3");
    let output = run(&program, &[], &place.workspace).await.unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(output.stderr, "to-stderr\n");
    let mut names: Vec<&str> = output.stdout.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.retain(|name| !matches!(*name, "PWD" | "SHLVL" | "_" | "OLDPWD"));
    names.sort_unstable();
    let mut expected: Vec<&str> = place.workspace.environment().iter().map(|(name, _)| *name).collect();
    expected.sort_unstable();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_dropped_run_is_told_to_stop_with_its_group() {
    let place = Place::new();
    let folder = place.folder.path().display().to_string();
    let program = place.script(&format!(
        "trap 'echo stopping; echo stopping >&2; echo yes > {folder}/told; exit 0' TERM\nsleep 60 &\necho $! > {folder}/child\necho $$ > {folder}/pid\nwait"
    ));
    let workspace = place.workspace.clone();
    let task = tokio::spawn(async move { run(&program, &[], &workspace).await.map(|_| ()) });
    place.until("the script starts", || place.read("pid").is_some()).await;
    let (pid, child) = (place.read("pid").unwrap(), place.read("child").unwrap());
    assert!(alive(&pid) && alive(&child));
    task.abort();
    place.until("both have ended", || !alive(&pid) && !alive(&child)).await;
    assert_eq!(place.read("told").as_deref(), Some("yes\n"));
}

#[tokio::test]
async fn who_does_not_stop_is_killed_and_the_workspace_kept_until_then() {
    let place = Place::new();
    let folder = place.folder.path().display().to_string();
    let program = place.script(&format!("trap '' TERM\necho $$ > {folder}/pid\nwhile :; do sleep 1; done"));
    let workspace = place.workspace.clone();
    let task = tokio::spawn(async move { run(&program, &[], &workspace).await.map(|_| ()) });
    place.until("the script starts", || place.read("pid").is_some()).await;
    let pid = place.read("pid").unwrap();
    task.abort();
    let _ = task.await;
    assert_eq!(Arc::strong_count(&place.workspace), 2, "the group still holds the workspace");
    place.until("it has ended", || !alive(&pid)).await;
    place.until("the workspace is given back", || Arc::strong_count(&place.workspace) == 1).await;
}

#[tokio::test]
async fn time_and_output_are_bounded() {
    let place = Place::new();
    let program = place.script("exec sleep 60");
    let begun = Instant::now();
    let result = run_within(&program, &[], &place.workspace, Duration::from_millis(200)).await;
    assert!(result.err().unwrap().is_transient());
    assert!(begun.elapsed() < Duration::from_secs(5));

    let program = place.script("head -c 3000000 /dev/zero | tr '\\0' x >&2; echo the-end >&2");
    let output = run(&program, &[], &place.workspace).await.unwrap();
    assert!(output.stderr.len() <= STDERR_LIMIT);
    assert!(output.stderr.ends_with("the-end\n"));
}

#[tokio::test]
async fn arguments_reach_no_shell() {
    let place = Place::new();
    let program = place.script("printf '%s|' \"$@\"");
    let arguments = ["$(id)", "a b", "; rm -rf /", "'\"\\"].map(OsString::from);
    let output = run(&program, &arguments, &place.workspace).await.unwrap();
    assert_eq!(output.stdout, "$(id)|a b|; rm -rf /|'\"\\|");
}

#[tokio::test]
async fn a_missing_program_says_what_to_install() {
    let place = Place::new();
    for program in ["no-such-helm", "/no/such/helm"] {
        let error = run(program.as_ref(), &[], &place.workspace).await.err().unwrap();
        assert!(error.message.contains("SEATRIAL_HELM"), "{error}");
        assert!(error.message.contains("Helm 3.14"), "{error}");
    }
}
