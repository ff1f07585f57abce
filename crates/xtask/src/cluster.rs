//! A real Kubernetes with one node on this machine, built from Go modules and Debian packages.
//!
//! Its processes outlive the one that starts them. It only ever touches what it started itself.

mod binaries;
mod config;
mod layout;
mod machine;
mod parts;
mod preflight;
mod process;

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command as Program, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Subcommand;

pub use binaries::Binaries;
use layout::Layout;
use parts::Part;

use crate::progress::{seconds, step};
use crate::shell;

/// How long a part of the start may take on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(180);

/// A real Kubernetes with one node on this machine.
#[derive(Subcommand)]
pub enum Command {
    /// Builds the executables and starts nothing.
    Build,
    /// Builds, installs and starts what is missing.
    Up,
    /// Ends it and removes everything that it made.
    Down,
    /// Says what runs; succeeds only if the cluster can be used.
    Status,
}

/// A cluster that can be used.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// The administrator's, with the one context `seatrial-local`.
    pub kubeconfig: PathBuf,
    pub helm: PathBuf,
    /// Host and port of the image registry, which holds the sample application as `shop:base`.
    pub registry: String,
    /// The state folder, with the parts' logs.
    pub dir: PathBuf,
}

pub fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Build => println!("HELM={}", build()?.helm.display()),
        Command::Up => {
            let cluster = up()?;
            println!("KUBECONFIG={}", cluster.kubeconfig.display());
            println!("HELM={}", cluster.helm.display());
            println!("REGISTRY={}", cluster.registry);
            println!("LOGS={}", cluster.dir.join("logs").display());
        }
        Command::Down => down()?,
        Command::Status => {
            if !status()? {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds the cluster's executables, Helm and the sample application, when their sources changed.
/// Starts nothing and needs no root, so that it can run beside a build of Seatrial.
pub fn build() -> Result<Binaries> {
    binaries::build(&Layout::from_environment()?)
}

/// Gives a cluster that can be used: the one that runs already, or a new one.
pub fn up() -> Result<Cluster> {
    let begun = Instant::now();
    let layout = Layout::from_environment()?;
    preflight::check_machine()?;
    let binaries = binaries::build(&layout)?;
    let _lock = lock(&layout)?;
    if !is_up(&layout, &binaries) {
        start(&layout, &binaries)?;
    }
    push_images(&binaries)?;
    eprintln!("  the cluster is ready after {}", seconds(begun.elapsed()));
    Ok(Cluster {
        kubeconfig: layout.kubeconfig(),
        helm: binaries.helm,
        registry: layout::REGISTRY.into(),
        dir: layout.dir,
    })
}

/// Ends the cluster, dead or alive, and removes everything that it made.
pub fn down() -> Result<()> {
    let layout = Layout::from_environment()?;
    preflight::check_machine()?;
    let _lock = lock(&layout)?;
    step("remove the cluster", || machine::remove(&layout))
}

/// Says what runs. True if the cluster can be used.
pub fn status() -> Result<bool> {
    let layout = Layout::from_environment()?;
    for name in parts::NAMES {
        let state = match process::recorded(&layout, name) {
            Some(process) if process.is_alive() => format!("runs as process {}", process.id()),
            Some(_) => "is dead".into(),
            None => "was not started".into(),
        };
        println!("{name:<24} {state}");
    }
    let program = layout.bin().join("cluster");
    if !layout.kubeconfig().exists() || !program.exists() {
        println!("there is no cluster");
        return Ok(false);
    }
    let mut ready = ready(&layout, &program, Duration::ZERO);
    Ok(ready.status().context("cannot ask the cluster")?.success() && all_alive(&layout))
}

/// One start or end at a time.
fn lock(layout: &Layout) -> Result<File> {
    fs::create_dir_all(layout.cache())?;
    let file = File::create(layout.cache().join("cluster.lock"))?;
    file.lock().context("cannot lock the cluster")?;
    Ok(file)
}

fn all_alive(layout: &Layout) -> bool {
    parts::NAMES.iter().all(|name| process::recorded(layout, name).is_some_and(|process| process.is_alive()))
}

/// True if the cluster runs and can be used. One whose processes live gets time to show it: others
/// may be using it, and a new one would take away what they have in it.
fn is_up(layout: &Layout, binaries: &Binaries) -> bool {
    let limit = Duration::from_secs(60);
    let usable = || ready(layout, &binaries.program, limit).output().is_ok_and(|answer| answer.status.success());
    if !all_alive(layout) || !usable() {
        return false;
    }
    if fs::read_to_string(layout.dir.join("stamp")).is_ok_and(|stamp| stamp != binaries.stamp) {
        eprintln!("  the cluster that runs was built from other sources: `cluster down` before `up` renews it");
    }
    true
}

fn start(layout: &Layout, binaries: &Binaries) -> Result<()> {
    step("remove what an earlier cluster left", || machine::remove(layout))?;
    preflight::install_packages()?;
    preflight::check_ports()?;
    let containerd = shell::find("containerd").context("containerd is not installed")?;

    step("certificates, configuration and network", || {
        machine::prepare(layout)?;
        config::write(layout)?;
        make_certificates(layout, &binaries.program)
    })?;
    step("start etcd, registry, containerd and the API server", || {
        let foundation = parts::foundation(layout, &binaries.program, containerd);
        start_all(layout, &foundation)?;
        let socket = layout.containerd_socket();
        shell::wait_until("containerd", PATIENCE, || UnixStream::connect(&socket).is_ok())?;
        shell::wait_until("the registry", PATIENCE, || TcpStream::connect(layout::REGISTRY_ADDRESS).is_ok())?;
        push(binaries, &binaries.pause, &config::pause_image())?;
        wait(layout, binaries, &foundation, &["--only-api"])
    })?;
    step("start the other parts and wait for the node", || {
        let rest = parts::rest(layout, &binaries.program);
        start_all(layout, &rest)?;
        wait(layout, binaries, &rest, &[])
    })?;
    Ok(fs::write(layout.dir.join("stamp"), &binaries.stamp)?)
}

fn start_all(layout: &Layout, parts: &[Part]) -> Result<()> {
    parts.iter().try_for_each(|part| process::start(layout, part).map(drop))
}

fn make_certificates(layout: &Layout, program: &Path) -> Result<()> {
    let mut certs = Program::new(program);
    certs
        .args(["certs", "--node", layout::NODE, "--address", layout::ADDRESS, "--port", layout::API_PORT])
        .args(["--service-address", layout::SERVICE_ADDRESS, "--dir"])
        .arg(&layout.dir);
    shell::run(&mut certs).map(drop)
}

/// Asks until everything is as it must be. `limit` zero asks once.
fn ready(layout: &Layout, program: &Path, limit: Duration) -> Program {
    let mut ready = Program::new(program);
    ready
        .args(["ready", "--node", layout::NODE, "--address", layout::ADDRESS])
        .args(["--registry", layout::REGISTRY, "--timeout", &format!("{}s", limit.as_secs())])
        .arg("--kubeconfig")
        .arg(layout.kubeconfig())
        // Addresses of this machine are no proxy's business.
        .env("NO_PROXY", "*");
    ready
}

/// Waits until the cluster is ready, and no longer than its parts live.
fn wait(layout: &Layout, binaries: &Binaries, parts: &[Part], arguments: &[&str]) -> Result<()> {
    let mut ready = ready(layout, &binaries.program, PATIENCE);
    let mut child = ready.args(arguments).stdout(std::process::Stdio::null()).spawn()?;
    let mut result = None;
    let mut dead = None;
    shell::wait_until("the cluster's start", PATIENCE * 2, || {
        result = child.try_wait().ok().flatten();
        let ended = |part: &&Part| !process::recorded(layout, part.name).is_some_and(|process| process.is_alive());
        dead = parts.iter().find(ended);
        result.is_some() || dead.is_some()
    })?;
    if let Some(part) = dead {
        child.kill()?;
        child.wait()?;
        bail!(process::died(layout, part.name));
    }
    if !result.is_some_and(|status| status.success()) {
        bail!("the cluster does not get ready; logs are in {}", layout.dir.join("logs").display());
    }
    Ok(())
}

/// Puts the sample application into the registry, for tests to give it more tags.
fn push_images(binaries: &Binaries) -> Result<()> {
    push(binaries, &binaries.shop, &format!("{}/shop:base", layout::REGISTRY))
}

fn push(binaries: &Binaries, executable: &Path, image: &str) -> Result<()> {
    let mut push = Program::new(&binaries.program);
    push.args(["push", "--image", image, "--binary"]).arg(executable).env("NO_PROXY", "*");
    shell::run(&mut push).map(drop)
}
