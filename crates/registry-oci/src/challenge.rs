//! What a registry wants of whoever asks: the header `WWW-Authenticate`.

/// Where a token is to be had.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Challenge {
    pub(crate) realm: String,
    pub(crate) service: Option<String>,
    pub(crate) scope: Option<String>,
}

/// Whether a user and a password are wanted.
pub(crate) fn is_basic(header: &str) -> bool {
    header.trim().split(' ').next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("basic"))
}

/// Reads `Bearer realm="…",service="…",scope="…"`; `None` for other schemes.
pub(crate) fn bearer(header: &str) -> Option<Challenge> {
    let (scheme, mut rest) = header.trim().split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let (mut realm, mut service, mut scope) = (None, None, None);
    while let Some((name, after)) = rest.split_once('=') {
        let (value, after) = value(after)?;
        match name.trim_matches([' ', ',']).to_ascii_lowercase().as_str() {
            "realm" => realm = Some(value),
            "service" => service = Some(value),
            "scope" => scope = Some(value),
            _ => {}
        }
        rest = after;
    }
    Some(Challenge { realm: realm?, service, scope })
}

/// A quoted string or a word, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.trim_start().strip_prefix('"') else {
        let end = text.find(',').unwrap_or(text.len());
        return Some((text[..end].trim().to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut escaped = false;
    for (at, c) in quoted.char_indices() {
        match c {
            _ if escaped => {
                value.push(c);
                escaped = false;
            }
            '\\' => escaped = true,
            '"' => return Some((value, &quoted[at + 1..])),
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_quotes_part_nothing() {
        let header = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push",error="x""#;
        let challenge = bearer(header).unwrap();
        assert_eq!(challenge.realm, "https://auth.docker.io/token");
        assert_eq!(challenge.service.as_deref(), Some("registry.docker.io"));
        assert_eq!(challenge.scope.as_deref(), Some("repository:a/b:pull,push"));
        let challenge = bearer(r#"bearer Service=plain , realm = "https://a.example/t?\"x\"""#).unwrap();
        assert_eq!(
            (challenge.realm.as_str(), challenge.service.as_deref()),
            (r#"https://a.example/t?"x""#, Some("plain"))
        );
    }

    #[test]
    fn what_names_no_realm_is_none() {
        for header in
            ["", "Bearer", "Bearer ", "Basic realm=\"x\"", "Bearer service=\"x\"", "Bearer realm=\"x", "Bearer =,=\""]
        {
            assert_eq!(bearer(header), None, "{header}");
        }
    }
}
