//! Names of what a preview has outside Seatrial: its namespace, its URL, label values.
//!
//! Both kinds of name are plain where they can be. One that lost anything on the way (a character,
//! a capital letter, its end) has a hash of `owner/name#number`, so two pull requests never share
//! one by accident. A plain name that another repository already holds is the store's to see; it
//! then takes the variant `_with_hash`.

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::ids::{Namespace, PullRequestRef};

/// The longest DNS label, and the longest label value.
const LABEL_MAX: usize = 63;
/// `-` and eight hexadecimal digits.
const HASH_SUFFIX: usize = 9;
/// The longest host name.
const HOST_MAX: usize = 253;

/// `pr-{repo}-{number}`, or with `-{hash}` at the end when the repository's name had to be
/// cleaned or shortened. The number is never shortened.
pub fn namespace(at: &PullRequestRef) -> Namespace {
    let repository = clean(at.repository.name());
    let plain = format!("pr-{}-{}", repository.text, at.number);
    if repository.lossy || plain.len() > LABEL_MAX { namespace_with_hash(at) } else { to_namespace(plain) }
}

/// `pr-{repo}-{number}-{hash}`: for when another repository holds the plain name.
pub fn namespace_with_hash(at: &PullRequestRef) -> Namespace {
    let tail = format!("{}-{}", at.number, hash(at));
    let room = LABEL_MAX - "pr-".len() - "-".len() - tail.len();
    let repository = clean(at.repository.name());
    let shortened = shorten(&repository.text, room);
    to_namespace(if shortened.is_empty() { format!("pr-{tail}") } else { format!("pr-{shortened}-{tail}") })
}

fn to_namespace(name: String) -> Namespace {
    name.parse().expect("begins with pr-, is cleaned and short enough, and ends with a digit")
}

/// Where a preview is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviewUrl {
    pub url: String,
    /// The URL's host, without the port.
    pub host: String,
}

/// How previews' URLs are made: `http://pr-{number}-{repo}.localhost:8081`. Placeholders are
/// `{number}`, `{repo}`, `{owner}` and `{slug}`, the last being the namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlTemplate {
    scheme: &'static str,
    labels: Vec<Vec<Part>>,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Number,
    Repo,
    Owner,
    Slug,
}

impl Part {
    fn named(name: &str) -> Option<Self> {
        match name {
            "number" => Some(Self::Number),
            "repo" => Some(Self::Repo),
            "owner" => Some(Self::Owner),
            "slug" => Some(Self::Slug),
            _ => None,
        }
    }
}

impl UrlTemplate {
    /// Accepts `scheme://host[:port]` with `http` or `https`. The host must name every pull
    /// request differently: `{slug}`, or `{number}` together with `{repo}`.
    ///
    /// # Errors
    /// `Invalid`, saying what to change.
    pub fn parse(text: &str) -> Result<Self> {
        let wrong = |what: String| {
            Error::invalid(format!(
                "the preview URL template {text:?} {what}; write it like \"http://pr-{{number}}-{{repo}}.localhost:8081\""
            ))
        };
        let (scheme, rest) = if let Some(rest) = text.strip_prefix("http://") {
            ("http", rest)
        } else if let Some(rest) = text.strip_prefix("https://") {
            ("https", rest)
        } else {
            return Err(wrong("does not begin with http:// or https://".to_owned()));
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if let Some(c) = rest.chars().find(|c| matches!(c, '/' | '?' | '#' | '@')) {
            return Err(wrong(format!("has a {c:?}: it has only a host and a port, no path, query or user")));
        }
        let (host, port) = match rest.split_once(':') {
            None => (rest, None),
            Some((host, port)) => match port.parse::<u16>() {
                Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => (host, Some(number)),
                _ => return Err(wrong(format!("has the port {port:?}, which is not a number from 1 to 65535"))),
            },
        };
        let mut labels = Vec::new();
        for label in host.split('.') {
            labels.push(parse_label(label).map_err(wrong)?);
        }
        let has = |part: Part| labels.iter().flatten().any(|p| *p == part);
        let unique = has(Part::Slug) || (has(Part::Number) && has(Part::Repo));
        if !unique {
            return Err(wrong(
                "would give several pull requests one URL: it needs {number} and {repo}, or {slug}".to_owned(),
            ));
        }
        Ok(Self { scheme, labels, port })
    }
}

fn parse_label(label: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = label;
    while !rest.is_empty() {
        let Some(open) = rest.find('{') else {
            parts.push(literal(rest)?);
            break;
        };
        if open > 0 {
            parts.push(literal(&rest[..open])?);
        }
        let close = rest.find('}').filter(|close| *close > open);
        let name = &rest[open + 1..close.ok_or("has a '{' without its '}'")?];
        parts.push(Part::named(name).ok_or_else(|| {
            format!("has the unknown placeholder {{{name}}}: there are {{number}}, {{repo}}, {{owner}} and {{slug}}")
        })?);
        rest = &rest[open + name.len() + 2..];
    }
    let fixed: usize = parts.iter().map(|part| if let Part::Literal(text) = part { text.len() } else { 0 }).sum();
    let bad_start = parts.first().is_none_or(|part| matches!(part, Part::Literal(t) if t.starts_with('-')));
    let bad_end = matches!(parts.last(), Some(Part::Literal(t)) if t.ends_with('-'));
    if bad_start || bad_end {
        return Err(format!("has the host label {label:?}, which is empty or begins or ends with '-'"));
    }
    let only_literal = parts.iter().all(|part| matches!(part, Part::Literal(_)));
    if fixed > if only_literal { LABEL_MAX } else { LITERAL_MAX } {
        return Err(format!("has the host label {label:?}, which leaves no room for the names"));
    }
    if parts.iter().filter(|part| !matches!(part, Part::Literal(_))).count() > 3 {
        return Err(format!("has the host label {label:?} with more than three placeholders"));
    }
    Ok(parts)
}

fn literal(text: &str) -> Result<Part, String> {
    let text = text.to_ascii_lowercase();
    match text.chars().find(|c| !c.is_ascii_lowercase() && !c.is_ascii_digit() && *c != '-') {
        Some(c) => Err(format!("has a {c:?} in its host")),
        None => Ok(Part::Literal(text)),
    }
}

/// The preview's URL, plain where it can be. A host label whose names had to be cleaned or
/// shortened ends with a hash.
///
/// # Errors
/// `Invalid` when the whole host is longer than 253 characters.
pub fn preview_url(template: &UrlTemplate, at: &PullRequestRef, namespace: &Namespace) -> Result<PreviewUrl> {
    build_url(template, at, namespace, false)
}

/// As [`preview_url`], with a hash in any case: for when another repository's environment holds
/// the plain host (two owners, one repository name).
///
/// # Errors
/// As [`preview_url`].
pub fn preview_url_with_hash(template: &UrlTemplate, at: &PullRequestRef, namespace: &Namespace) -> Result<PreviewUrl> {
    build_url(template, at, namespace, true)
}

fn build_url(template: &UrlTemplate, at: &PullRequestRef, namespace: &Namespace, hashed: bool) -> Result<PreviewUrl> {
    let telling = |parts: &[Part]| parts.contains(&Part::Number) || parts.contains(&Part::Slug);
    let mut hash_here = hashed;
    let mut labels = Vec::with_capacity(template.labels.len());
    for parts in &template.labels {
        // One hash is enough; it goes where the pull request is named.
        let forced = hash_here && telling(parts);
        hash_here &= !forced;
        labels.push(host_label(parts, at, namespace, forced));
    }
    let host = labels.join(".");
    if host.len() > HOST_MAX {
        return Err(Error::invalid(format!(
            "the preview's host {host:?} has more than {HOST_MAX} characters; use a shorter preview URL template"
        )));
    }
    let url = match template.port {
        Some(port) => format!("{}://{host}:{port}", template.scheme),
        None => format!("{}://{host}", template.scheme),
    };
    Ok(PreviewUrl { url, host })
}

fn host_label(parts: &[Part], at: &PullRequestRef, namespace: &Namespace, forced: bool) -> String {
    let name_of = |part: &Part| match part {
        Part::Literal(_) | Part::Number => None,
        Part::Repo => Some(clean(at.repository.name())),
        Part::Owner => Some(clean(at.repository.owner())),
        Part::Slug => Some(Cleaned { text: namespace.to_string(), lossy: false }),
    };
    let joined = |longest: usize| -> String {
        let text: String = parts
            .iter()
            .map(|part| match (part, name_of(part)) {
                (Part::Literal(text), _) => text.clone(),
                (_, Some(name)) => shorten(&name.text, longest).to_owned(),
                (_, None) => at.number.to_string(),
            })
            .collect();
        text.trim_matches('-').to_owned()
    };
    let plain = joined(LABEL_MAX);
    let lossy = parts.iter().filter_map(name_of).any(|name| name.lossy);
    if !lossy && !forced && plain.len() <= LABEL_MAX {
        return plain;
    }
    // The names give way, not the number: the longest length at which all fits.
    let room = LABEL_MAX - HASH_SUFFIX;
    let fitting = (0..=LABEL_MAX).rev().map(joined).find(|text| text.len() <= room).unwrap_or_default();
    if fitting.is_empty() { format!("p-{}", hash(at)) } else { format!("{fitting}-{}", hash(at)) }
}

/// Literals of a label with placeholders: leaves room for the longest number, and the hash.
const LITERAL_MAX: usize = LABEL_MAX - HASH_SUFFIX - 20;

struct Cleaned {
    text: String,
    /// True when two different names may have this text.
    lossy: bool,
}

/// Lower case, letters, digits and single inner `-` in place of anything else.
fn clean(name: &str) -> Cleaned {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.chars().all(allowed) && !name.is_empty() && !name.starts_with('-') && !name.ends_with('-') {
        return Cleaned { text: name.to_owned(), lossy: false };
    }
    let mut text = String::with_capacity(name.len());
    for c in name.chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            text.push(c);
        } else if !text.is_empty() && !text.ends_with('-') {
            text.push('-');
        }
    }
    Cleaned { text: text.trim_end_matches('-').to_owned(), lossy: true }
}

/// At most `max` characters of a cleaned name, and no `-` at the end.
fn shorten(text: &str, max: usize) -> &str {
    text[..text.len().min(max)].trim_end_matches('-')
}

fn hash(at: &PullRequestRef) -> String {
    Sha256::digest(at.to_string()).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// Any text as a valid Kubernetes label value: at most 63 of letters, digits, `-`, `_` and `.`,
/// with a letter or digit at both ends; possibly empty.
pub fn label_value(text: &str) -> String {
    let cleaned: String = text
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .skip_while(|c| !c.is_ascii_alphanumeric())
        .take(LABEL_MAX)
        .collect();
    cleaned.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn at(repository: &str, number: u64) -> PullRequestRef {
        PullRequestRef { repository: repository.parse().unwrap(), number }
    }

    fn url(template: &str, repository: &str, number: u64) -> String {
        let at = at(repository, number);
        preview_url(&UrlTemplate::parse(template).unwrap(), &at, &namespace(&at)).unwrap().url
    }

    const DEFAULT: &str = "http://pr-{number}-{repo}.localhost:8081";

    #[test]
    fn namespaces() {
        let long = format!("acme/{}", "a".repeat(100));
        let fits = format!("acme/{}", "a".repeat(57));
        let table: Vec<String> = [
            ("acme/shop", 12),
            ("acme/shop-2", 1),
            ("acme/Shop", 12),
            ("acme/shop.js", 12),
            ("acme/my_shop", 12),
            ("acme/.github", 3),
            ("acme/-shop-", 3),
            ("acme/___", 3),
            (&fits, 12),
            (&fits, 123),
            (&long, 12),
            (&long, u64::MAX),
        ]
        .map(|(repository, number)| format!("{repository}#{number} -> {}", namespace(&at(repository, number))))
        .to_vec();
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn what_was_cleaned_or_shortened_stays_apart() {
        let names = ["my_shop", "my.shop", "My-shop", "my-shop", "my--shop", "-my-shop", "MY_SHOP"];
        let mut seen = HashSet::new();
        for name in names {
            for owner in ["acme", "other"] {
                let at = at(&format!("{owner}/{name}"), 7);
                assert!(namespace_with_hash(&at) == namespace_with_hash(&at), "stable");
                assert!(seen.insert(namespace_with_hash(&at)), "{at}");
            }
        }
        assert_ne!(namespace(&at("acme/my_shop", 7)), namespace(&at("acme/my.shop", 7)));
        assert_eq!(namespace(&at("acme/shop", 7)).as_str(), "pr-shop-7");
        assert_ne!(namespace_with_hash(&at("acme/shop", 7)), namespace_with_hash(&at("other/shop", 7)));
    }

    #[test]
    fn urls() {
        let long = format!("acme/{}", "a".repeat(100));
        let table: Vec<String> = [
            (DEFAULT, "acme/shop", 12),
            (DEFAULT, "acme/Shop.js", 12),
            (DEFAULT, "acme/___", 12),
            (DEFAULT, &long, 12),
            (DEFAULT, &long, u64::MAX),
            ("https://{repo}-{number}.preview.example.com", "acme/shop", 12),
            ("https://{repo}-{number}.preview.example.com", &long, 12),
            ("https://{slug}.preview.example.com/", "acme/shop", 12),
            ("https://{slug}-preview.example.com", &long, 12),
            ("https://{number}.{repo}.{owner}.example.com", "Acme/shop", 12),
            ("https://{owner}-{repo}-{number}.Example.com", "acme/shop", 12),
        ]
        .map(|(template, repository, number)| {
            format!("{template} {repository}#{number}\n  {}", url(template, repository, number))
        })
        .to_vec();
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn host_labels_are_dns_labels_and_keep_the_number() {
        let alphabet = ["a", "A", "-", "_", ".", "9", "x-", "-.x"];
        let templates = [
            DEFAULT,
            "http://{repo}-{number}.localhost",
            "http://{owner}{repo}{number}.localhost",
            "http://{number}.{repo}.localhost",
            "http://{slug}.localhost",
            "http://a-literal-of-thirty-four-letters-x{slug}{owner}.localhost",
        ];
        for template in templates.map(|t| UrlTemplate::parse(t).unwrap()) {
            for first in alphabet {
                for times in [1, 2, 7, 30, 50] {
                    let name: String = format!("{first}b").repeat(times).chars().take(100).collect();
                    let Ok(repository) = format!("{name}/{name}").parse() else { continue };
                    for number in [1, 4_711, u64::MAX] {
                        let at = PullRequestRef { repository: Clone::clone(&repository), number };
                        let namespace = namespace(&at);
                        for made in [preview_url, preview_url_with_hash] {
                            let PreviewUrl { url, host } = made(&template, &at, &namespace).unwrap();
                            assert_eq!(url::Url::parse(&url).unwrap().host_str(), Some(host.as_str()));
                            for label in host.split('.') {
                                let ok = (1..=63).contains(&label.len())
                                    && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                                    && !label.starts_with('-')
                                    && !label.ends_with('-');
                                assert!(ok, "{label:?} of {at}");
                            }
                        }
                        assert!(namespace.as_str().contains(&number.to_string()), "{namespace}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_hash_tells_owners_apart() {
        let template = UrlTemplate::parse(DEFAULT).unwrap();
        let (ours, theirs) = (at("acme/shop", 1), at("other/shop", 1));
        let namespace = namespace(&ours);
        let plain = |at| preview_url(&template, at, &namespace).unwrap();
        let hashed = |at| preview_url_with_hash(&template, at, &namespace).unwrap();
        assert_eq!(plain(&ours), plain(&theirs));
        assert_ne!(hashed(&ours).host, hashed(&theirs).host);
        assert!(hashed(&theirs).host.starts_with("pr-1-shop-"), "{:?}", hashed(&theirs));
        // One hash is enough.
        let two = UrlTemplate::parse("http://{number}.{repo}.localhost").unwrap();
        assert!(preview_url_with_hash(&two, &ours, &namespace).unwrap().host.ends_with(".shop.localhost"));
        let both = UrlTemplate::parse("http://{number}.{slug}.localhost").unwrap();
        assert!(preview_url_with_hash(&both, &ours, &namespace).unwrap().host.ends_with(".pr-shop-1.localhost"));
    }

    #[test]
    fn bad_templates_are_told_what_is_wrong() {
        let literal = format!("http://{}{{slug}}.localhost", "a".repeat(40));
        let table: Vec<String> = [
            "",
            "ftp://{slug}.localhost",
            "{slug}.localhost",
            "http://",
            "http://{number}.localhost",
            "http://{repo}.localhost",
            "http://{slug}.localhost/path",
            "http://{slug}.localhost?q",
            "http://{slug}.localhost#f",
            "http://user@{slug}.localhost",
            "http://{slug}.localhost:0",
            "http://{slug}.localhost:+80",
            "http://{slug}.localhost:99999",
            "http://{slug}.localhost:80:80",
            "http://{Slug}.localhost",
            "http://{slug.localhost",
            "http://}{slug}.localhost",
            "http://{slug}..localhost",
            "http://-{slug}.localhost",
            "http://{slug}-.localhost",
            "http://{slug}.loc_alhost",
            "http://{slug}.é",
            "http://{slug}{slug}{slug}{slug}.localhost",
            &literal,
        ]
        .map(|template| match UrlTemplate::parse(template) {
            Ok(parsed) => panic!("{template} was accepted: {parsed:?}"),
            Err(error) => error.message,
        })
        .to_vec();
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn a_host_that_is_too_long_is_an_error() {
        let label = "{owner}-{repo}-{number}.".repeat(4);
        let template = UrlTemplate::parse(&format!("http://{label}localhost")).unwrap();
        let name = "a".repeat(100);
        let at = at(&format!("{name}/{name}"), 1);
        let error = preview_url(&template, &at, &namespace(&at)).unwrap_err();
        assert!(error.message.contains("253"), "{error}");
    }

    #[test]
    fn label_values() {
        let long = "a".repeat(62) + "/b";
        for (text, expected) in [
            ("acme/shop", "acme-shop"),
            ("Shop_1.2", "Shop_1.2"),
            ("", ""),
            ("--..__", ""),
            ("-a-", "a"),
            ("é", ""),
            ("a b\nc", "a-b-c"),
            (&long, &"a".repeat(62)),
            (&"b".repeat(200), &"b".repeat(63)),
        ] {
            assert_eq!(label_value(text), expected, "{text:?}");
        }
    }
}
