//! Sends every endpoint of the stand-in through a proxy that knows GitHub's OpenAPI
//! description, and fails on any request or answer that does not fit it.

mod calls;
mod prism;
mod world;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

/// Judges the stand-in by GitHub's OpenAPI description.
#[derive(Parser)]
struct Arguments {
    /// Folder for the npm packages of the judge; installed there when missing.
    #[arg(long)]
    prism_dir: Option<PathBuf>,
    /// A proxy that runs already, in front of `--listen`; none is started then.
    #[arg(long, env = "SEATRIAL_PRISM_URL")]
    prism_url: Option<String>,
    /// Where the stand-in listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    let world = world::World::start(&arguments.listen).await?;
    let proxy = match &arguments.prism_url {
        Some(url) => prism::Proxy::known(url),
        None => {
            let folder = prism::folder(arguments.prism_dir)?;
            prism::install(&folder)?;
            prism::Proxy::start(&folder, world.url()).await?
        }
    };
    let (mut passed, mut failed) = (0, 0);
    let mut out = std::io::stdout();
    let mut report = |name: &str, found: Result<(), String>| -> std::io::Result<()> {
        match found {
            Ok(()) => {
                passed += 1;
                writeln!(out, "ok    {name}")
            }
            Err(reason) => {
                failed += 1;
                writeln!(out, "FAIL  {name}\n      {reason}")
            }
        }
    };
    for call in calls::all(&world) {
        let found = world.judge(proxy.url(), &call).await;
        report(&call.name(), found)?;
    }
    report("GET tarball (around the proxy)", world.tarball().await)?;
    proxy.stop().await;
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
