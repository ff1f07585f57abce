//! Text from outside, made harmless for GitHub's Markdown.
//!
//! GitHub finds mentions, issue numbers and bare addresses in the rendered text, so escaping does
//! not stop them; an invisible word joiner inside them does. Within code none are looked for.

/// Invisible, forbids a line break, and is no part of any name.
const JOINER: char = '\u{2060}';

/// Without what could reorder, hide or control: terminal sequences, control characters other than
/// newline and tab, bidirectional overrides, invisible characters. All line ends become `\n`.
pub fn clean(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape_sequence(&mut chars),
            '\r' => {
                chars.next_if_eq(&'\n');
                out.push('\n');
            }
            '\u{2028}' | '\u{2029}' | '\u{85}' => out.push('\n'),
            '\n' | '\t' => out.push(c),
            c if c.is_control() || is_invisible(c) => {}
            c => out.push(c),
        }
    }
    out
}

fn skip_escape_sequence(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    if chars.next_if_eq(&'[').is_some() {
        // CSI: parameters, then one final byte.
        while chars.next_if(|c| ('\u{20}'..='\u{3f}').contains(c)).is_some() {}
        chars.next_if(|c| ('\u{40}'..='\u{7e}').contains(c));
    }
}

fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

fn one_line(text: &str) -> String {
    clean(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// At most `max` characters, the cut shown.
pub fn clip(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        None => text.to_owned(),
        Some(_) => text.chars().take(max.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// Text within a paragraph or table cell: on one line, nothing in it means anything.
pub fn inline(text: &str) -> String {
    let text = one_line(text);
    let mut out = String::with_capacity(text.len() * 2);
    for (at, c) in text.char_indices() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' => out.extend(['\\', c]),
            // At the start of a paragraph these would begin a list or a rule.
            '-' | '+' | '=' if at == 0 => out.extend(['\\', c]),
            '.' | ')' if at > 0 && text[..at].bytes().all(|b| b.is_ascii_digit()) => out.extend(['\\', c]),
            _ => push_html(&mut out, &text, at, c),
        }
    }
    out
}

/// Text within an HTML element, such as a `<summary>`, where Markdown is not looked at.
pub fn html(text: &str) -> String {
    let text = one_line(text);
    let mut out = String::with_capacity(text.len() * 2);
    for (at, c) in text.char_indices() {
        push_html(&mut out, &text, at, c);
    }
    out
}

fn push_html(out: &mut String, text: &str, at: usize, c: char) {
    match c {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        // @mention, #12
        '@' | '#' => out.extend([c, JOINER]),
        // http://…
        ':' if text[at..].starts_with("://") || ends_with_ignoring_case(&text[..at], "mailto") => {
            out.extend([c, JOINER])
        }
        // www.…
        '.' if ends_with_ignoring_case(&text[..at], "www") => out.extend([JOINER, c]),
        // GH-12
        '-' if ends_with_ignoring_case(&text[..at], "gh") => out.extend([JOINER, c]),
        c => out.push(c),
    }
}

fn ends_with_ignoring_case(text: &str, end: &str) -> bool {
    let (text, end) = (text.as_bytes(), end.as_bytes());
    text.len() >= end.len() && text[text.len() - end.len()..].eq_ignore_ascii_case(end)
}

/// Text as code within a paragraph.
pub fn code(text: &str) -> String {
    let text = one_line(text);
    if text.is_empty() {
        return String::new();
    }
    let ticks = "`".repeat(longest_run(&text, '`') + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{ticks}{pad}{text}{pad}{ticks}")
}

/// Text as a block of code; its fence is longer than any run of backticks within.
pub fn block(text: &str) -> String {
    let text = clean(text);
    let text = text.trim_matches('\n').trim_end();
    let fence = "`".repeat((longest_run(text, '`') + 1).max(3));
    format!("{fence}text\n{text}\n{fence}")
}

fn longest_run(text: &str, wanted: char) -> usize {
    let (mut longest, mut run) = (0, 0);
    for c in text.chars() {
        run = if c == wanted { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}

/// A link to one of our own addresses. Anything that is not plainly `http` or `https` is shown as
/// code instead.
pub fn link(text: &str, url: &str) -> String {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?&=%+,;@!#[]".contains(&b);
    let web = url.starts_with("http://") || url.starts_with("https://");
    if web && url.len() <= 1000 && url.bytes().all(harmless) {
        format!("[{}](<{url}>)", inline(text))
    } else {
        code(&clip(url, 300))
    }
}

/// A block that is shut until somebody opens it.
pub fn folded(title: &str, content: &str) -> String {
    format!("<details>\n<summary>{}</summary>\n\n{content}\n\n</details>", html(title))
}

/// At most about `max` bytes of a text, its middle left out and that said: beginnings name the
/// thing, ends say how it went.
pub fn shorten_middle(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let head = floor_boundary(text, max / 3);
    let tail = ceil_boundary(text, text.len() - (max - max / 3));
    format!("{}\n… {} bytes left out …\n{}", &text[..head], tail - head, &text[tail..])
}

fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0)
}

fn ceil_boundary(text: &str, at: usize) -> usize {
    (at..=text.len()).find(|i| text.is_char_boundary(*i)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inline_text_means_nothing() {
        let cases = [
            ("plain words, 1/2 ready.", "plain words, 1/2 ready."),
            ("@octocat and @acme/team", "@\u{2060}octocat and @\u{2060}acme/team"),
            ("fixes #12, GH-12 and gh-7", "fixes #\u{2060}12, GH\u{2060}-12 and gh\u{2060}-7"),
            ("acme/shop#4", "acme/shop#\u{2060}4"),
            ("[x](http://evil.example)", "\\[x\\](http:\u{2060}//evil.example)"),
            ("![x](y)", "!\\[x\\](y)"),
            ("see WWW.evil.example", "see WWW\u{2060}.evil.example"),
            ("<img src=x> & <!-- x -->", "&lt;img src=x&gt; &amp; &lt;!-- x --&gt;"),
            ("**b** _i_ ~~s~~ `c` $m$ a|b", "\\*\\*b\\*\\* \\_i\\_ \\~\\~s\\~\\~ \\`c\\` \\$m\\$ a\\|b"),
            ("back\\slash", "back\\\\slash"),
            ("two\nlines\r\n\r\n# head", "two lines #\u{2060} head"),
            ("- item", "\\- item"),
            ("12. item", "12\\. item"),
            ("# head", "#\u{2060} head"),
            ("> quote", "&gt; quote"),
            ("a\u{202e}b\u{0}c\u{200b}d", "abcd"),
        ];
        for (text, expected) in cases {
            assert_eq!(inline(text), expected, "{text:?}");
        }
    }

    #[test]
    fn code_cannot_be_left() {
        assert_eq!(code("web"), "`web`");
        assert_eq!(code("a`b"), "``a`b``");
        assert_eq!(code("`a```"), "```` `a``` ````");
        assert_eq!(code("a\n\nb"), "`a b`");
        assert_eq!(block("x\n```\ny"), "````text\nx\n```\ny\n````");
        assert_eq!(block("x"), "```text\nx\n```");
        assert_eq!(block("\u{1b}[31mred\u{1b}[0m\u{7}"), "```text\nred\n```");
    }

    #[test]
    fn links_are_ours_or_none() {
        assert_eq!(link("here", "http://pr-1-shop.localhost:8081"), "[here](<http://pr-1-shop.localhost:8081>)");
        assert_eq!(link("here", "javascript:alert(1)"), "`javascript:alert(1)`");
        assert_eq!(link("here", "http://x/>) [y](z"), "`http://x/>) [y](z`");
    }

    #[test]
    fn shortening_says_so_and_keeps_both_ends() {
        let text = format!("begin{}end", "é".repeat(500));
        let short = shorten_middle(&text, 90);
        assert!(short.starts_with("begin") && short.ends_with("end") && short.contains("bytes left out"), "{short}");
        assert!(short.len() < 140);
        assert_eq!(shorten_middle("short", 90), "short");
        assert_eq!(clip("abcdef", 4), "abc…");
        assert_eq!(clip("abcd", 4), "abcd");
    }
}
