//! The program: arguments, settings, wiring.

mod arguments;
mod doctor;
mod logging;
mod serve;
mod settings;
mod wiring;

use std::process::ExitCode;

use arguments::{Arguments, Command};
use clap::Parser;
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
    let settings = Settings::load(arguments.config.as_deref())?;
    logging::start(&settings)?;
    match arguments.command {
        Command::Serve => serve::serve(settings).await.map(|()| ExitCode::SUCCESS),
        Command::Migrate => wiring::migrate(&settings).await.map(|()| ExitCode::SUCCESS),
        Command::Doctor => doctor::examine(&settings).await,
    }
}
