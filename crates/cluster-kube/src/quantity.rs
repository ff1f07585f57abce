//! Kubernetes quantities: enough to derive defaults from a quota.

use seatrial_preview::{Error, Result};

const SUFFIXES: [(&str, i128); 12] = [
    // In thousandths of the unit. Two-letter suffixes first.
    ("Ki", 1_000 << 10),
    ("Mi", 1_000 << 20),
    ("Gi", 1_000 << 30),
    ("Ti", 1_000 << 40),
    ("Pi", 1_000 << 50),
    ("m", 1),
    ("k", 1_000_000),
    ("M", 1_000_000_000),
    ("G", 1_000_000_000_000),
    ("T", 1_000_000_000_000_000),
    ("P", 1_000_000_000_000_000_000),
    ("", 1_000),
];

/// Thousandths of the unit (cores or bytes). `what` names the quantity in the error.
pub(crate) fn parse_thousandths(what: &str, text: &str) -> Result<i128> {
    let wrong = || {
        Error::invalid(format!(
            "{what}: {text:?} is not a quantity of Kubernetes, such as 500m, 2, 512Mi or 2Gi, above 0"
        ))
    };
    let (number, factor) = SUFFIXES
        .iter()
        .find_map(|(suffix, factor)| text.strip_suffix(suffix).map(|number| (number, *factor)))
        .ok_or_else(wrong)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if digits.is_empty() || digits.len() > 15 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    let exponent = u32::try_from(fraction.len()).map_err(|_| wrong())?;
    let value = digits.parse::<i128>().map_err(|_| wrong())? * factor / 10_i128.pow(exponent);
    if value > 0 { Ok(value) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities() {
        for (text, thousandths) in [
            ("2", 2_000),
            ("500m", 500),
            ("0.5", 500),
            ("1.5k", 1_500_000),
            ("1Ki", 1_024_000),
            ("2Gi", 2_147_483_648_000),
        ] {
            assert_eq!(parse_thousandths("quota.cpu", text).unwrap(), thousandths, "{text}");
        }
        for text in ["", "m", "two", "-1", "0", "0m", "1.", "1 Gi", "1e3", "99999999999999999999"] {
            // "1." is accepted by Kubernetes and harmless.
            assert_eq!(parse_thousandths("quota.cpu", text).is_ok(), text == "1.", "{text}");
        }
    }
}
