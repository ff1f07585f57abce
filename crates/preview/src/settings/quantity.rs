//! Durations and Kubernetes quantities, as people write them.

use std::time::Duration;

/// `90s`, `3m`, `2h`, `7d`; `None` for anything else.
pub fn duration(text: &str) -> Option<Duration> {
    let (digits, seconds) = match text.as_bytes().last()? {
        b's' => (&text[..text.len() - 1], 1),
        b'm' => (&text[..text.len() - 1], 60),
        b'h' => (&text[..text.len() - 1], 3600),
        b'd' => (&text[..text.len() - 1], 86_400),
        _ => return None,
    };
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(Duration::from_secs(digits.parse::<u64>().ok()?.checked_mul(seconds)?))
}

/// A duration in the largest unit that divides it: `90s`, `3m`.
pub fn duration_words(duration: Duration) -> String {
    let seconds = duration.as_secs();
    for (unit, size) in [("d", 86_400), ("h", 3600), ("m", 60)] {
        if seconds > 0 && seconds.is_multiple_of(size) {
            return format!("{}{unit}", seconds / size);
        }
    }
    format!("{seconds}s")
}

/// True for a Kubernetes quantity above zero: `2`, `0.5`, `500m`, `2Gi`.
pub fn is_positive_quantity(text: &str) -> bool {
    const SUFFIXES: [&str; 15] = ["", "m", "u", "n", "k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi"];
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let well_formed = number.len() <= 15
        && number.bytes().any(|b| b.is_ascii_digit())
        && number.bytes().filter(|b| *b == b'.').count() <= 1;
    well_formed && number.bytes().any(|b| (b'1'..=b'9').contains(&b)) && SUFFIXES.contains(&suffix)
}
