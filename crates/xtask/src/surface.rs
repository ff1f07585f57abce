//! The REST surface and the webhook, examined by other people's tools on the running program; see
//! `tests/surface/README.md`.

mod program;
mod tools;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::progress::step;
use crate::shell;
use crate::workspace::{self, root};
use program::Program;
use tools::Tools;

/// How long a tool may take, in seconds, on a machine that is busy with other things.
const LIMIT: &str = "600";

/// Does one check after the other, whether those before it passed or not: first those of the
/// description alone, then those of the program, which starts with an empty database.
pub fn check() -> Result<()> {
    let tools = Tools::install()?;
    let mut build = workspace::cargo("build");
    step("build the program", || {
        workspace::show(build.args(["--bin", "seatrial", "--bin", "seatrial-github-standin"]))
    })?;
    let folder = std::env::temp_dir().join(format!("seatrial-surface-{}", std::process::id()));
    fill(&folder, &tools).with_context(|| format!("filling {}", folder.display()))?;
    let bench = Bench { program: Program::start(&folder)?, folder, tools };

    let checks: [(&str, &dyn Fn() -> Result<()>); 8] = [
        ("Redocly lints the description", &|| {
            bench.run(bench.tools.node("redocly").args(["lint", "--max-problems", "50", "openapi.json"]))
        }),
        ("Spectral lints the description", &|| {
            bench.run(bench.tools.node("spectral").args(["lint", "--fail-severity", "hint", "openapi.json"]))
        }),
        ("a client in TypeScript compiles", &|| {
            bench.run(bench.tools.node("openapi-typescript").args(["openapi.json", "-o", "openapi.d.ts"]))?;
            bench.run(bench.tools.node("tsc").args(["--project", "."]))
        }),
        // Before others send deliveries, for it counts them.
        ("the program takes GitHub's example deliveries", &|| bench.run(Command::new("node").arg("deliveries.mjs"))),
        ("the stand-in for GitHub has pull requests", &|| bench.run(Command::new("node").arg("seed.mjs"))),
        ("a client in Python does its work", &|| {
            let generate = ["generate", "--path", "openapi.json", "--meta", "none", "--output-path", "client"];
            let mut generator = bench.tools.python("openapi-python-client");
            bench.run(generator.args(generate).args(["--config", "client.yaml", "--fail-on-warning"]))?;
            bench.run(bench.tools.python("pytest").args(["-q", "test_client.py"]))
        }),
        ("Schemathesis finds nothing", &|| {
            bench.run(
                bench.tools.python("schemathesis").args(["run", &format!("{}/api/openapi.json", bench.program.url())]),
            )
        }),
        ("the program's log is clean", &|| bench.program.check_log()),
    ];
    let mut failed = Vec::new();
    for (what, check) in checks {
        if let Err(error) = step(what, check) {
            eprintln!("✗ {what}: {error:#}");
            failed.push(what);
        }
    }
    if failed.is_empty() {
        return Ok(fs::remove_dir_all(&bench.folder)?);
    }
    bail!("{} (all is kept in {})", failed.join("; "), bench.folder.display())
}

/// What the checks work with.
struct Bench {
    tools: Tools,
    program: Program,
    /// A copy of `tests/surface` with the description and the packages, for what is made there.
    folder: PathBuf,
}

impl Bench {
    /// Runs a tool to its end; what it said is shown if it fails.
    fn run(&self, tool: &mut Command) -> Result<()> {
        let mut command = Command::new("timeout");
        command.arg(LIMIT).arg(tool.get_program()).args(tool.get_args());
        command.current_dir(&self.folder).envs(self.program.whereabouts());
        command.env("PATH", self.tools.path()?).env("REDOCLY_TELEMETRY", "off");
        let output = shell::finish(&mut command)?;
        if !output.status.success() {
            let said = [output.stdout, output.stderr].concat();
            bail!("{} ({})\n{}", tool.get_program().display(), output.status, String::from_utf8_lossy(&said));
        }
        Ok(())
    }
}

fn fill(folder: &Path, tools: &Tools) -> Result<()> {
    fs::create_dir(folder)?;
    for entry in fs::read_dir(root().join("tests/surface"))? {
        let entry = entry?;
        fs::copy(entry.path(), folder.join(entry.file_name()))?;
    }
    fs::copy(root().join("api/openapi.json"), folder.join("openapi.json"))?;
    // Node looks for packages where a file lies.
    std::os::unix::fs::symlink(tools.packages(), folder.join("node_modules"))?;
    Ok(())
}
