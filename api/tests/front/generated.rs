//! The descriptions that others build on are committed; a change of them is a change one sees.

use std::path::Path;

fn compare(name: &str, made: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == made,
        "api/{name} is not what the program says: run `cargo xtask generate` and look at the change"
    );
}

#[test]
fn generated_openapi_is_current() {
    compare("openapi.json", &seatrial_api::openapi_json());
}

#[test]
fn generated_mcp_tools_are_current() {
    compare("mcp-tools.json", &seatrial_api::mcp_tools_json());
}
