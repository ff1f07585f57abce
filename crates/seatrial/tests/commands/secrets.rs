//! Secrets of projects at rest: which key opens them, and that they are shown nowhere.

use std::io::Write as _;
use std::process::Stdio;

use crate::serving::Serving;
use crate::{Place, assert_says};

const OLD: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const NEW: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
const PLANTED: &str = "correct-horse-battery-staple";

impl Place {
    /// Sets a secret from standard input.
    fn set_secret(&self, name: &str, value: &str) -> String {
        let mut command = self.command(&["project", "secret", "set", "acme/shop", name]);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8(said).unwrap()
    }
}

fn with_project() -> Place {
    let mut place = Place::new();
    place.set("SEATRIAL_LOG", "debug");
    place.done(&["team", "create", "payments"]);
    place.done(&["project", "add", "acme/shop", "--team", "payments"]);
    place
}

#[test]
fn a_secret_is_seen_by_nobody() {
    let mut place = with_project();
    assert_says(&place.set_secret("DATABASE_URL", PLANTED), &["SEATRIAL_ENCRYPTION_KEY", "openssl rand -base64 32"]);
    place.set("SEATRIAL_ENCRYPTION_KEY", OLD);
    let serving = Serving::start(place.command(&["serve"]));
    place.set("SEATRIAL_SERVER", &serving.url);
    let mut said = place.set_secret("DATABASE_URL", &format!("{PLANTED}\n"));
    assert_says(&said, &["DATABASE_URL is set"]);
    for command in
        [&["project", "secret", "list", "acme/shop"][..], &["project", "get", "acme/shop"], &["audit", "list"]]
    {
        said += &place.done(command);
    }
    said += &serving.end();
    assert!(said.contains("secret.put") && said.contains("DEBUG"), "the log is not told enough to prove anything");
    for hidden in [PLANTED, OLD] {
        assert!(!said.contains(hidden));
    }
    for file in std::fs::read_dir(place.folder.path()).unwrap().map(Result::unwrap).filter(|file| file.path().is_file())
    {
        let content = std::fs::read(file.path()).unwrap();
        assert!(!content.windows(PLANTED.len()).any(|part| part == PLANTED.as_bytes()), "{:?}", file.path());
    }
}

#[test]
fn keys_are_changed_without_losing_a_secret() {
    let mut place = with_project();
    place.set("SEATRIAL_ENCRYPTION_KEY", OLD);
    assert_says(&place.set_secret("A", PLANTED), &["A is set"]);

    // Without its key nothing starts that could lose it.
    place.set("SEATRIAL_ENCRYPTION_KEY", NEW);
    assert_says(&place.refused(&["serve"]), &["SEATRIAL_ENCRYPTION_KEY holds", "add that one behind a comma"]);
    place.variables.remove("SEATRIAL_ENCRYPTION_KEY");
    assert_says(&place.refused(&["serve"]), &["set SEATRIAL_ENCRYPTION_KEY to it"]);
    assert_says(&place.doctor()["secrets"], &["WRONG ", "SEATRIAL_ENCRYPTION_KEY"]);
    place.set("SEATRIAL_ENCRYPTION_KEY", "hunter2");
    let refused = place.refused(&["serve"]);
    assert_says(&refused, &["SEATRIAL_ENCRYPTION_KEY cannot be used", "key 1 is not 32 bytes in base64"]);
    assert!(!refused.contains("hunter2"));

    // With both it is sealed anew, and the old one can go.
    place.set("SEATRIAL_ENCRYPTION_KEY", &format!("{NEW},{OLD}"));
    assert_says(&Serving::start(place.command(&["serve"])).end(), &["secrets are sealed with the new key"]);
    place.set("SEATRIAL_ENCRYPTION_KEY", NEW);
    assert_says(&place.doctor()["secrets"], &["ok "]);
    assert_says(&place.done(&["project", "secret", "list", "acme/shop"]), &["SECRET", "A"]);
}
