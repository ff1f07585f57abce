//! Comments as HTML. Their authors are not trusted.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

use crate::text::escape;

/// Tags that pass, as GitHub lets them.
const TAGS: &[&str] = &[
    "<details>",
    "<details open>",
    "</details>",
    "<summary>",
    "</summary>",
    "<br>",
    "<br/>",
    "<br />",
    "<sub>",
    "</sub>",
    "<sup>",
    "</sup>",
    "<kbd>",
    "</kbd>",
];

/// Markdown as safe HTML.
pub(super) fn render(text: &str) -> String {
    let options =
        Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS | Options::ENABLE_GFM;
    let mut events = Vec::new();
    let mut block: Option<String> = None;
    for event in Parser::new_ext(text, options) {
        match event {
            // A comment or a tag may go over several lines, so blocks are looked at whole.
            Event::Start(Tag::HtmlBlock) => block = Some(String::new()),
            Event::End(TagEnd::HtmlBlock) => {
                let html = clean(&block.take().unwrap_or_default());
                events.push(Event::Html(html.into()));
            }
            Event::Html(html) | Event::Text(html) if block.is_some() => {
                if let Some(block) = &mut block {
                    block.push_str(&html);
                }
            }
            Event::Html(html) | Event::InlineHtml(html) => {
                events.push(Event::InlineHtml(clean(&html).into()));
            }
            Event::Start(tag) => events.push(Event::Start(disarm(tag))),
            other => events.push(other),
        }
    }
    let mut out = String::new();
    html::push_html(&mut out, events.into_iter());
    out
}

/// Only addresses a browser may safely open stay.
fn disarm(tag: Tag<'_>) -> Tag<'_> {
    let safe = |url: CowStr<'_>| -> CowStr<'static> {
        let lower = url.to_ascii_lowercase();
        let known = ["http://", "https://", "mailto:", "#", "/"].iter().any(|start| lower.starts_with(start));
        if known { CowStr::from(url.into_string()) } else { CowStr::from("#") }
    };
    match tag {
        Tag::Link { link_type, dest_url, title, id } => Tag::Link { link_type, dest_url: safe(dest_url), title, id },
        Tag::Image { link_type, dest_url, title, id } => Tag::Image { link_type, dest_url: safe(dest_url), title, id },
        other => other,
    }
}

/// Lets the harmless tags through, drops comments, and shows the rest as text.
fn clean(html: &str) -> String {
    let mut out = String::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        out.push_str(&escape(&rest[..at]));
        rest = &rest[at..];
        if let Some(comment) = rest.strip_prefix("<!--") {
            rest = comment.find("-->").map_or("", |end| &comment[end + 3..]);
            continue;
        }
        let tag = TAGS.iter().find(|tag| rest.get(..tag.len()).is_some_and(|start| start.eq_ignore_ascii_case(tag)));
        match tag {
            Some(tag) => {
                out.push_str(tag);
                rest = &rest[tag.len()..];
            }
            None => {
                out.push_str("&lt;");
                rest = &rest[1..];
            }
        }
    }
    out.push_str(&escape(rest));
    out
}

#[cfg(test)]
mod tests {
    use super::render;

    #[test]
    fn lets_details_through_and_shows_other_tags_as_text() {
        let html =
            render("<details><summary>Log</summary>\n\nline **one**\n\n</details>\n\n<img src=x onerror=alert(1)>");
        assert!(html.contains("<details><summary>Log</summary>"), "{html}");
        assert!(html.contains("<strong>one</strong>"), "{html}");
        assert!(html.contains("&lt;img src=x"), "{html}");
        assert!(!html.contains("<img"), "{html}");
    }

    #[test]
    fn drops_comments_even_over_several_lines() {
        let html = render("<!-- seatrial:1\nmore -->\n\nHello <!-- in --> there");
        assert!(!html.contains("seatrial:1") && !html.contains("more"), "{html}");
        assert!(html.contains("Hello  there"), "{html}");
    }

    #[test]
    fn takes_the_sting_out_of_addresses() {
        let html = render("[a](javascript:alert(1)) ![b](data:text/html,x) [c](https://example.com)");
        assert!(!html.contains("javascript:") && !html.contains("data:"), "{html}");
        assert!(html.contains("href=\"https://example.com\""), "{html}");
    }

    #[test]
    fn attributes_do_not_pass_on_allowed_tags() {
        let html = render("<details ontoggle=alert(1)>x</details>");
        assert!(html.contains("&lt;details ontoggle"), "{html}");
    }
}
