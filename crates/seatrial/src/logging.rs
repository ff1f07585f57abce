use anyhow::Context;
use tracing_subscriber::EnvFilter;

use crate::settings::{LogFormat, Settings};

/// Of commands that answer and end: the clients log what comes back as an error anyway.
const ANSWERING: &str = "error,octocrab=off,kube_client=off";

/// Logs go to standard error; standard output is for what programs read. A command that answers and
/// ends tells what went wrong by itself, so of its log only errors are shown, unless a filter was set.
pub fn start(settings: &Settings, is_long_running: bool) -> anyhow::Result<()> {
    let filter = if is_long_running || settings.is_set("log") { settings.log.as_str() } else { ANSWERING };
    let filter = EnvFilter::try_new(filter).with_context(|| {
        format!("{}: {:?} is not a log filter; write for example info", settings.name("log"), settings.log)
    })?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match settings.log_format {
        LogFormat::Text => subscriber.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => subscriber.json().init(),
    }
    Ok(())
}
