//! The frame around every page.

use chrono::{DateTime, Utc};

use crate::clock::iso;
use crate::text::escape;

/// The style of all pages.
pub(super) const STYLE: &str = include_str!("page.css");

/// Looks for changes and shows them; without it the page reloads now and then.
pub(super) const SCRIPT: &str = include_str!("live.js");

/// A whole page. With a version, it follows changes after that one.
pub(super) fn page(title: &str, main: &str, version: Option<u64>) -> String {
    let live = match version {
        Some(version) => format!(
            "<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>\
             <script src=\"/_assets/live.js\" data-version=\"{version}\" defer></script>"
        ),
        None => String::new(),
    };
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <title>{} · GitHub stand-in</title>\
         <link rel=\"icon\" href=\"/_avatars/G.svg\" type=\"image/svg+xml\">\
         <link rel=\"stylesheet\" href=\"/_assets/page.css\">{live}</head><body>\
         <header><a href=\"/\">GitHub stand-in</a>\
         <span>Not GitHub: a program for tests and demonstrations. Nothing here leaves it.</span>\
         </header><main>{main}</main></body></html>",
        escape(title)
    )
}

/// A time, exact for machines and short for people.
pub(super) fn time(at: DateTime<Utc>) -> String {
    format!("<time datetime=\"{}\">{}</time>", iso(at), at.format("%H:%M:%S"))
}

/// A picture for an account: its first letter on a colour of its own.
pub(super) fn avatar(name: &str) -> String {
    let name = name.strip_suffix(".svg").unwrap_or(name);
    let letter: String = name
        .chars()
        .find(|character| character.is_alphanumeric())
        .map(|character| character.to_uppercase().collect())
        .unwrap_or_default();
    let hue = name.bytes().fold(0_u32, |sum, byte| (sum * 31 + u32::from(byte)) % 360);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 40 40\">\
         <rect width=\"40\" height=\"40\" fill=\"hsl({hue} 45% 40%)\"/>\
         <text x=\"20\" y=\"27\" font-family=\"sans-serif\" font-size=\"20\" fill=\"#fff\" \
         text-anchor=\"middle\">{}</text></svg>",
        escape(&letter)
    )
}
