//! The program: arguments, settings, wiring.

mod arguments;
mod cli;
mod doctor;
mod house;
mod logging;
mod serve;
mod settings;
mod wiring;

use std::process::ExitCode;

use arguments::{Arguments, Command};
use clap::{CommandFactory as _, Parser as _};
use serve::Parts;
use settings::Settings;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("seatrial: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    wiring::install_crypto()?;
    if let Command::Completions { shell } = arguments.command {
        // Written at once, and not by clap_complete itself, which panics when its reader is gone.
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "seatrial", &mut script);
        return cli::text(&String::from_utf8_lossy(&script)).map(|()| ExitCode::SUCCESS);
    }
    let settings = Settings::load(arguments.config.as_deref())?;
    logging::start(&settings, arguments.command.is_long_running())?;
    let served = |served: anyhow::Result<()>| served.map(|()| ExitCode::SUCCESS);
    match arguments.command {
        Command::Serve => served(serve::serve(settings, Parts::All).await),
        Command::Api => served(serve::serve(settings, Parts::Api).await),
        Command::Worker => served(serve::serve(settings, Parts::Worker).await),
        Command::Migrate => served(wiring::migrate(&settings).await),
        Command::Doctor => doctor::examine(&settings).await,
        Command::Completions { .. } => Ok(ExitCode::SUCCESS),
        Command::Remote(remote) => served(cli::run(remote, &arguments.reach, settings).await),
    }
}
