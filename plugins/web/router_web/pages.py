"""What a person would read of a page: its title and its text, without menus, buttons and scripts.

One walk over the tree: what it costs grows with the size of the page and with nothing else, whatever the page does.
"""

from __future__ import annotations

import re
from typing import Any

from lxml import etree, html
from msgspec import Struct

#: what holds no text of the page (a head may: where a page does not say that it ends, libxml2 takes newer elements into it)
SKIPPED = frozenset(
    {
        "script",
        "style",
        "noscript",
        "template",
        "svg",
        "canvas",
        "iframe",
        "object",
        "title",
        "textarea",
        "button",
        "select",
    }
    | {"nav", "footer", "aside", "dialog"}
)
#: the same for parts that call themselves so
SKIPPED_ROLES = frozenset({"navigation", "banner", "contentinfo", "search", "complementary", "menu", "dialog"})
BLOCKS = frozenset(
    {
        "p",
        "div",
        "section",
        "article",
        "main",
        "header",
        "ul",
        "ol",
        "dl",
        "dt",
        "dd",
        "li",
        "table",
        "tr",
        "pre",
        "blockquote",
    }
    | {"figure", "figcaption", "br", "hr", "h1", "h2", "h3", "h4", "h5", "h6", "address", "details", "summary"}
)
#: what stands in front of the text of an element
MARKS = {
    "li": "- ",
    "h1": "# ",
    "h2": "## ",
    "h3": "### ",
    "h4": "#### ",
    "h5": "##### ",
    "h6": "###### ",
    "td": " | ",
    "th": " | ",
}
#: a main part that is shorter than this is not all there is to read
LEAST_CHARS = 200
PLAIN = ("text/", "application/json", "application/xml")
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\s*\n\s*")


class Page(Struct, kw_only=True):
    """The readable part of a page."""

    title: str = ""
    text: str = ""


class Unreadable(Exception):
    """The content is none that can be read as text."""


def read(media_type: str, content: bytes) -> Page:
    """The page. Raises Unreadable."""
    kind = media_type.partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml"):
        return _of_html(content)
    if kind.startswith(PLAIN) or kind.endswith(("+json", "+xml")):
        return Page(text=content.decode(errors="replace").strip())
    raise Unreadable(f"it is {kind or 'of no known type'}, which is no text")


def _of_html(content: bytes) -> Page:
    try:
        content.decode()
        encoding = "utf-8"
    except UnicodeDecodeError:
        encoding = None  # the page says itself
    parser = html.HTMLParser(encoding=encoding, remove_comments=True, remove_pis=True, huge_tree=False)
    try:
        tree = html.document_fromstring(content or b"<p></p>", parser=parser)
    except (etree.LxmlError, ValueError) as error:
        raise Unreadable("it cannot be read as HTML") from error
    title = " ".join((tree.findtext(".//title") or tree.findtext(".//h1") or "").split())
    return Page(title=title, text=_main_text(tree))


def _main_text(tree: Any) -> str:
    """The text of the article or main part, or of everything where they hold too little."""
    for path in (".//article", ".//main", ".//*[@role='main']"):
        found = dict.fromkeys(tree.findall(path))
        outer = (each for each in found if not any(up in found for up in each.iterancestors()))
        text = "\n\n".join(filter(None, map(text_of, outer)))
        if len(text) >= LEAST_CHARS:
            return text
    return text_of(tree)


def text_of(root: Any) -> str:
    """All that can be read below an element."""
    pieces: list[str] = []
    walk = etree.iterwalk(root, events=("start", "end"))
    for event, element in walk:
        tag = element.tag
        if event == "start":
            if _skipped(element):
                walk.skip_subtree()
                continue
            if tag in BLOCKS:
                pieces.append("\n")
            pieces.append(MARKS.get(tag, ""))
            pieces.append(_SPACES.sub(" ", (element.text or "").replace("\n", " ")))
            continue
        if tag in BLOCKS:
            pieces.append("\n")
        if element is not root:
            pieces.append(_SPACES.sub(" ", (element.tail or "").replace("\n", " ")))
    return _LINES.sub("\n", _SPACES.sub(" ", "".join(pieces))).strip()


def _skipped(element: Any) -> bool:
    get = element.get
    return (
        element.tag in SKIPPED
        or get("role") in SKIPPED_ROLES
        or get("hidden") is not None
        or get("aria-hidden") == "true"
    )
