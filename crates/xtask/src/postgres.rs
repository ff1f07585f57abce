//! A PostgreSQL server of our own for a ring or a benchmark: a new folder, a free port on
//! loopback, and power-safe as the server's defaults are.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::progress::step;
use crate::shell;

/// PostgreSQL refuses to run as root; Debian's package makes this account.
const ACCOUNT: &str = "postgres";

/// Runs until it is dropped.
pub struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    port: u16,
}

impl Postgres {
    /// Installs the server if it is missing (on Debian, as root), and starts one.
    pub fn start() -> Result<Self> {
        let programs = match programs() {
            Some(programs) => programs,
            None => step("install PostgreSQL", install)?,
        };
        step("start PostgreSQL", || Self::start_at(programs))
    }

    fn start_at(programs: PathBuf) -> Result<Self> {
        // The port is free now; whoever takes it before the server does makes the start fail.
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let folder = std::env::temp_dir().join(format!("seatrial-postgres-{port}"));
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let server = Self { programs, folder, port };
        if shell::is_root() {
            shell::run(&mut shell::system("chown", &[ACCOUNT, &server.folder.to_string_lossy()]))?;
        }
        let data = server.data();
        let data = data.to_string_lossy();
        shell::run(server.program("initdb").args(["-D", &data, "-A", "trust", "-U", ACCOUNT, "--no-sync"]))?;
        let options =
            format!("-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=500");
        let log = server.folder.join("log");
        let mut start = server.program("pg_ctl");
        start.args(["-D", &data, "-l", &log.to_string_lossy(), "-w", "-t", "60", "-o", &options, "start"]);
        // A pipe would be held open by the server it starts.
        let status = start.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status()?;
        if !status.success() {
            bail!("PostgreSQL does not start: {}", fs::read_to_string(&log).unwrap_or_default().trim());
        }
        Ok(server)
    }

    /// The server's URL without a database.
    pub fn url(&self) -> String {
        format!("postgres://{ACCOUNT}@127.0.0.1:{}", self.port)
    }

    pub fn create_database(&self, name: &str) -> Result<()> {
        let mut create = self.program("createdb");
        shell::run(create.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", ACCOUNT, name]))?;
        Ok(())
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn program(&self, name: &str) -> Command {
        let program = self.programs.join(name);
        let mut command = if shell::is_root() {
            let mut command = shell::system("runuser", &["-u", ACCOUNT, "--"]);
            command.arg(program);
            command
        } else {
            Command::new(program)
        };
        command.current_dir(&self.folder);
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Nothing in it is kept; an error here leaves a folder in the system's temporary one.
        let _ = self
            .program("pg_ctl")
            .args(["-D", &self.data().to_string_lossy(), "-m", "immediate", "-w", "stop"])
            .stdout(std::process::Stdio::null())
            .status();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The folder with `initdb`, of the newest version that is installed.
fn programs() -> Option<PathBuf> {
    let mut versions: Vec<_> = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .filter(|folder| folder.join("initdb").is_file())
        .collect();
    versions.sort();
    versions.pop().or_else(|| shell::find("initdb")?.parent().map(Path::to_owned))
}

fn install() -> Result<PathBuf> {
    shell::install("postgresql").context("PostgreSQL's programs (initdb, pg_ctl, postgres) are not there")?;
    programs().context("the package postgresql was installed, but there is no initdb below /usr/lib/postgresql")
}
