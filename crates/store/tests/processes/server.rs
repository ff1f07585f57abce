//! A PostgreSQL server that a test may restart: its own.

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// PostgreSQL refuses to run as root; Debian's package makes this account.
const ACCOUNT: &str = "postgres";

/// Runs until it is dropped.
pub struct Server {
    programs: PathBuf,
    folder: TempDir,
    port: u16,
}

impl Server {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let server = Self { programs: programs(), folder, port };
        if is_root() {
            run(Command::new("chown").arg(ACCOUNT).arg(server.folder.path()));
        }
        run(server.program("initdb").args(["-A", "trust", "-U", ACCOUNT, "--no-sync"]));
        let options = format!("-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''");
        run(server.program("pg_ctl").args(["-w", "-t", "60", "-l", "log", "-o", &options, "start"]));
        server
    }

    /// As after a crash: nothing is finished, nothing is written back, the log is replayed.
    pub fn restart(&self) {
        run(self.program("pg_ctl").args(["-w", "-t", "60", "-l", "log", "-m", "immediate", "restart"]));
    }

    pub fn url(&self) -> String {
        format!("postgres://{ACCOUNT}@127.0.0.1:{}/postgres", self.port)
    }

    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = if is_root() {
            let mut command = Command::new("/usr/sbin/runuser");
            command.args(["-u", ACCOUNT, "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(self.folder.path()).env("PGDATA", self.folder.path().join("data"));
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nothing in it is kept; it may not have started.
        let mut stop = self.program("pg_ctl");
        let _ = stop.args(["-m", "immediate", "-w", "stop"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    }
}

/// A pipe would be held open by the server that is started.
fn run(command: &mut Command) {
    let said = tempfile::NamedTempFile::new().unwrap();
    let output = || Stdio::from(File::options().append(true).open(said.path()).unwrap());
    let status = command.stdin(Stdio::null()).stdout(output()).stderr(output()).status().unwrap();
    assert!(status.success(), "{command:?}: {}", std::fs::read_to_string(said.path()).unwrap());
}

fn programs() -> PathBuf {
    let mut versions: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()))
        .filter(|folder| folder.join("initdb").is_file())
        .collect();
    versions.sort();
    versions
        .pop()
        .expect("PostgreSQL's programs are missing: run `cargo xtask test --ring engine`, which installs them")
}

fn is_root() -> bool {
    Path::new("/proc/self").metadata().unwrap().uid() == 0
}
