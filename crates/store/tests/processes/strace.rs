//! What a process wrote and synced, in order, by the log of `strace`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::witness::Line;

/// Runs the command that is added to it, and logs what [`parse`] reads.
pub fn command(log: &Path) -> Command {
    let strace = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join("strace"))
        .find(|program| program.is_file())
        .expect("strace is missing: run `cargo xtask test --ring engine`, which installs it");
    let mut command = Command::new(strace);
    let calls = "trace=openat,pwrite64,write,fdatasync,fsync,ftruncate,unlink";
    // Paths of descriptors, all text in hexadecimal, whole pages.
    command.args(["-f", "-y", "-xx", "-s", "70000", "-e", calls, "-o"]).arg(log);
    command
}

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Opened to be made if it was not there.
    Make(PathBuf),
    Write {
        file: PathBuf,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        file: PathBuf,
        to: usize,
    },
    Remove(PathBuf),
    /// A thread asks for what was written so far to be on disk, a file's content or a folder's
    /// names.
    SyncBegins {
        thread: u32,
        path: PathBuf,
    },
    /// It is there.
    SyncEnds {
        thread: u32,
    },
    /// From here on others know.
    Says(Line),
}

/// Calls that failed are left out, and so is what was written to no place: to `witness`, lines are
/// taken as said when the write began.
pub fn parse(log: &str, witness: &Path) -> Vec<Event> {
    let mut events = Vec::new();
    let mut unfinished: HashMap<u32, &str> = HashMap::new();
    for line in log.lines() {
        let Some((thread, call)) = line.split_once(' ') else { continue };
        let (thread, call): (u32, _) = (thread.parse().unwrap(), call.trim_start());
        if let Some(begun) = call.strip_suffix(" <unfinished ...>") {
            begins(&mut events, thread, begun, witness);
            unfinished.insert(thread, begun);
            continue;
        }
        // What a call returned is put in a column, with spaces before it.
        let Some((call, returned)) = call.rsplit_once(" = ") else { continue };
        match call.strip_prefix("<... ") {
            Some(_) => {
                let begun = unfinished.remove(&thread).expect("a call is resumed that had begun");
                ends(&mut events, thread, begun, returned);
            }
            None => {
                let call = call.trim_end().strip_suffix(')').expect("a call ends with its arguments");
                begins(&mut events, thread, call, witness);
                ends(&mut events, thread, call, returned);
            }
        }
    }
    events
}

/// A call is `name(arguments`.
fn begins(events: &mut Vec<Event>, thread: u32, call: &str, witness: &Path) {
    match call.split_once('(') {
        Some(("fdatasync" | "fsync", descriptor)) => {
            events.push(Event::SyncBegins { thread, path: path_of(descriptor) })
        }
        Some(("write", arguments)) if path_of(arguments) == witness => {
            let said = String::from_utf8(text_of(arguments)).unwrap();
            let line = said.trim_end().parse();
            events.push(Event::Says(line.unwrap_or_else(|()| panic!("not a line of a witness: {said:?}"))));
        }
        _ => {}
    }
}

fn ends(events: &mut Vec<Event>, thread: u32, call: &str, returned: &str) {
    let Some((name, arguments)) = call.split_once('(') else { return };
    let Ok(returned) = returned.split(['<', ' ']).next().unwrap_or_default().parse::<usize>() else { return };
    let number = |from_the_end| -> usize {
        let mut words = arguments.rsplit(", ");
        words.nth(from_the_end).and_then(|word| word.parse().ok()).expect("a number as an argument")
    };
    events.push(match name {
        "openat" if arguments.contains("O_CREAT") => {
            Event::Make(PathBuf::from(String::from_utf8(text_of(arguments)).unwrap()))
        }
        "unlink" => Event::Remove(PathBuf::from(String::from_utf8(text_of(arguments)).unwrap())),
        "pwrite64" => {
            let (file, at, mut bytes) = (path_of(arguments), number(0), text_of(arguments));
            // The end of the process can cut it short.
            bytes.truncate(returned);
            Event::Write { file, at, bytes }
        }
        "ftruncate" => Event::Truncate { file: path_of(arguments), to: number(0) },
        "fdatasync" | "fsync" => Event::SyncEnds { thread },
        _ => return,
    });
}

/// The path in `4<\x2f…>`.
fn path_of(arguments: &str) -> PathBuf {
    let path = arguments.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map_or("", |(path, _)| path);
    PathBuf::from(String::from_utf8(bytes_of(path)).unwrap_or_default())
}

/// The text in quotes.
fn text_of(arguments: &str) -> Vec<u8> {
    let (_, text) = arguments.split_once('"').expect("a text as an argument");
    let (text, rest) = text.split_once('"').expect("the text ends");
    assert!(!rest.starts_with("..."), "the log holds only the beginning of a text");
    bytes_of(text)
}

/// `\x2f\x74…`; what is not of that form (`socket:[1]`) yields nothing.
fn bytes_of(text: &str) -> Vec<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).map(|digit| digit as u8);
    let byte = |escaped: &[u8]| match escaped {
        [b'\\', b'x', high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    };
    text.as_bytes().chunks(4).map(byte).collect::<Option<_>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> String {
        text.bytes().map(|byte| format!("\\x{byte:02x}")).collect()
    }

    #[test]
    fn calls_are_read_whole_and_in_parts() {
        let (file, witness) = (hex("/f/runs.db"), hex("/f/witness"));
        let run = seatrial_engine::RunId::new();
        let said = hex(&format!("started {run}\n"));
        let log = format!(
            "7 openat(AT_FDCWD</>, \"{file}\", O_RDWR|O_CREAT|O_CLOEXEC, 0644) = 4<{file}>\n\
             7 openat(AT_FDCWD</>, \"{file}\", O_RDWR|O_CREAT|O_CLOEXEC, 0644) = -1 EACCES (Permission denied)\n\
             7 pwrite64(4<{file}>, \"{}\", 2, 24 <unfinished ...>\n\
             8 write(5<{witness}>, \"{said}\", 44 <unfinished ...>\n\
             7 <... pwrite64 resumed>) = 2\n\
             7 fdatasync(4<{file}> <unfinished ...>\n\
             8 <... write resumed>) = 44\n\
             8 write(1<socket:[7]>, \"{said}\", 44) = 44\n\
             7 <... fdatasync resumed>)           = 0\n\
             7 unlink(\"{file}\") = 0\n\
             7 +++ exited with 0 +++\n",
            hex("ab"),
        );
        let file = PathBuf::from("/f/runs.db");
        let expected = [
            Event::Make(file.clone()),
            Event::Says(Line::Started(run)),
            Event::Write { file: file.clone(), at: 24, bytes: b"ab".to_vec() },
            Event::SyncBegins { thread: 7, path: file.clone() },
            Event::SyncEnds { thread: 7 },
            Event::Remove(file),
        ];
        assert_eq!(parse(&log, Path::new("/f/witness")), expected);
    }
}
