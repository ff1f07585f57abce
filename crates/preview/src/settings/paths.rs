//! Patterns of paths, as `filters.paths` has them.

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

use super::yaml::quoted;

/// What is wrong with a pattern, if anything is.
pub fn check(pattern: &str) -> Result<(), String> {
    let problem = |problem: &str| Err(format!("{} {problem}", quoted(pattern)));
    let glob = pattern.strip_prefix('!').unwrap_or(pattern);
    if glob.is_empty() {
        return problem("is empty: write a pattern like src/**");
    }
    if glob.len() > 256 {
        return problem("is longer than 256 bytes");
    }
    if glob.starts_with('/') || glob.split('/').any(|part| part == "." || part == "..") {
        return problem("never fits: paths begin at the root of the repository without '/', './' or '..', like src/**");
    }
    if glob.ends_with('/') {
        return Err(format!(
            "{} never fits a file: write {} for all that is in the folder",
            quoted(pattern),
            quoted(&format!("{pattern}**"))
        ));
    }
    if glob.contains('\\') {
        return problem("has a backslash: write '/' between folders, and [*] for a '*' that is meant");
    }
    compiled([glob]).map(|_| ()).map_err(|error| format!("{} is not a pattern: {}", quoted(pattern), error.kind()))
}

/// Whether one of the files is fitted: of the patterns that fit a file the last one decides, and
/// one that begins with `!` takes it out.
pub fn fit(patterns: &[String], files: &[String]) -> bool {
    // Patterns were compiled when they were read, so this cannot fail; if it does, nobody is to
    // miss a preview for it.
    let Ok(set) = compiled(patterns.iter().map(|pattern| pattern.strip_prefix('!').unwrap_or(pattern))) else {
        return true;
    };
    files.iter().any(|file| set.matches(file).last().is_some_and(|last| !patterns[*last].starts_with('!')))
}

/// `*` and `?` stay within a folder, `**` does not. As a set, because the matcher of a single
/// pattern panics where a set fails.
fn compiled<'a>(globs: impl IntoIterator<Item = &'a str>) -> Result<GlobSet, globset::Error> {
    let mut set = GlobSetBuilder::new();
    for glob in globs {
        set.add(GlobBuilder::new(glob).literal_separator(true).build()?);
    }
    set.build()
}
