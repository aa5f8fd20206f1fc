"""The model card as HTML."""

from __future__ import annotations

from markdown_it import MarkdownIt
from markupsafe import Markup

MARKDOWN = MarkdownIt("commonmark", {"html": False}).enable("table")  # what is HTML in the card shows as text


def card_html(text: str) -> Markup:
    """Markdown as HTML, its headings one level lower, as the page has its own title, and with tables that scroll."""
    tokens = MARKDOWN.parse(text)
    for token in tokens:
        if token.type.startswith("heading_"):
            token.tag = f"h{min(int(token.tag[1]) + 1, 6)}"
        elif token.type == "th_open":
            token.attrSet("scope", "col")
    page = MARKDOWN.renderer.render(tokens, MARKDOWN.options, {})
    scrolling = page.replace("<table>", '<div class="scroll" tabindex="0"><table>').replace("</table>", "</table></div>")
    return Markup(scrolling)  # noqa: S704 - the renderer escapes what it is given
