//! The `index.yaml` of a chart repository, as far as one chart goes.

use std::cmp::Ordering;
use std::fmt;

use semver::Version;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// One version of the chart.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Entry {
    #[serde(default)]
    pub(crate) version: String,
    /// Where the archive is; may be relative to the index.
    #[serde(default)]
    pub(crate) urls: Vec<String>,
    /// SHA-256 of the archive, if the repository says it.
    #[serde(default)]
    pub(crate) digest: Option<String>,
}

/// All versions of `chart`; `None` when the index does not have it.
///
/// # Errors
/// Of what is no index.
pub(crate) fn versions(index: &[u8], chart: &str) -> Result<Option<Vec<Entry>>, String> {
    let reader = serde_yaml_ng::Deserializer::from_slice(index);
    Keyed { key: "entries", inner: Keyed { key: chart, inner: Entries } }
        .deserialize(reader)
        .map_err(|error| error.to_string())?
        .ok_or_else(|| "it has no `entries`".to_owned())
}

/// The entry of a version, written as it is or with another opinion on the leading `v`.
pub(crate) fn find<'a>(entries: &'a [Entry], version: &str) -> Option<&'a Entry> {
    let bare = |text: &'a str| text.strip_prefix('v').unwrap_or(text);
    let wanted = version.strip_prefix('v').unwrap_or(version);
    let exact = entries.iter().find(|entry| entry.version == version);
    exact.or_else(|| entries.iter().find(|entry| bare(&entry.version) == wanted))
}

/// The newest versions, for people: `1.10.0, 1.9.2 and 12 older ones`.
pub(crate) fn newest<'a>(versions: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let read = |text: &str| Version::parse(text.strip_prefix('v').unwrap_or(text)).ok();
    let mut known: Vec<(Version, &str)> =
        versions.into_iter().filter(|text| text.len() <= 64).filter_map(|text| Some((read(text)?, text))).collect();
    known.sort_by(|(a, _), (b, _)| b.cmp_precedence(a).then(Ordering::Equal));
    let words: Vec<&str> = known.iter().take(SHOWN).map(|(_, text)| *text).collect();
    match known.len() {
        0 => "it has none at all".to_owned(),
        more if more > SHOWN => format!("the newest are {} and {} older ones", words.join(", "), more - SHOWN),
        1 => format!("there is only {}", words.join(", ")),
        _ => format!("there are {}", words.join(", ")),
    }
}

/// Reads one key of a mapping and passes over the others, whatever they hold: an index may have
/// thousands of charts, and a mistake in another one is nobody's trouble here.
struct Keyed<'a, T> {
    key: &'a str,
    inner: T,
}

impl<'de, T: DeserializeSeed<'de>> DeserializeSeed<'de> for Keyed<'_, T> {
    type Value = Option<T::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, T: DeserializeSeed<'de>> Visitor<'de> for Keyed<'_, T> {
    type Value = Option<T::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a mapping with {}", self.key)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self { key, inner } = self;
        let (mut inner, mut found) = (Some(inner), None);
        while let Some(name) = map.next_key::<String>()? {
            match inner.take_if(|_| name == key) {
                Some(inner) => found = Some(map.next_value_seed(inner)?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(found)
    }

    // `entries:` with nothing behind it.
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}

struct Entries;

impl<'de> DeserializeSeed<'de> for Entries {
    type Value = Vec<Entry>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Entries {
    type Value = Vec<Entry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of versions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = list.next_element()? {
            entries.push(entry);
        }
        Ok(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INDEX: &str = "apiVersion: v1
entries:
  other: {not: a list}
  shop:
  - {apiVersion: v2, name: shop, version: 1.2.3, urls: [shop-1.2.3.tgz], digest: abc, created: '2024-01-01'}
  - {name: shop, version: v1.10.0, urls: []}
  - {name: shop, version: 1.2.3+b}
generated: 2024-01-01
";

    #[test]
    fn one_chart_is_read_and_the_others_passed_over() {
        let entries = versions(INDEX.as_bytes(), "shop").unwrap().unwrap();
        assert_eq!(entries.len(), 3);
        assert_eq!(find(&entries, "1.2.3").unwrap().urls, ["shop-1.2.3.tgz"]);
        assert_eq!(find(&entries, "v1.2.3").unwrap().digest.as_deref(), Some("abc"));
        assert_eq!(find(&entries, "1.10.0").unwrap().version, "v1.10.0");
        assert_eq!(find(&entries, "1.2.3+b").unwrap().version, "1.2.3+b");
        assert_eq!(find(&entries, "1.2"), None);
        assert_eq!(versions(INDEX.as_bytes(), "missing"), Ok(None));
        assert_eq!(versions(b"{\"entries\": {}}", "shop"), Ok(None));
        assert_eq!(versions(b"entries:\n", "shop"), Ok(None));
        for text in ["<html><body>: no</html>", "- a", "entries: {shop: {}}", "entries: [", ""] {
            assert!(versions(text.as_bytes(), "shop").is_err(), "{text}");
        }
    }

    #[test]
    fn the_newest_are_listed_by_version_and_not_by_letter() {
        assert_eq!(
            newest(["1.2.0", "1.10.0", "latest", "1.10.0-rc.1", "v1.9.0"]),
            "there are 1.10.0, 1.10.0-rc.1, v1.9.0, 1.2.0"
        );
        assert_eq!(newest(["1.0.0"]), "there is only 1.0.0");
        assert_eq!(newest(["latest"]), "it has none at all");
        let many: Vec<String> = (0..12).map(|minor| format!("1.{minor}.0")).collect();
        assert_eq!(
            newest(many.iter().map(String::as_str)),
            "the newest are 1.11.0, 1.10.0, 1.9.0, 1.8.0, 1.7.0 and 7 older ones"
        );
    }
}
