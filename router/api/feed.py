"""A list of models as RSS 2.0, for readers of news."""

from __future__ import annotations

import re
from email.utils import formatdate
from xml.etree import ElementTree

from .listing import Page

#: characters that no XML may hold, escaped or not
FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def rss(page: Page, origin: str) -> bytes:
    """The document. `origin` is the address under which clients reach us."""
    root = ElementTree.Element("rss", version="2.0")
    channel = ElementTree.SubElement(root, "channel")
    _add(channel, "title", "Models")
    _add(channel, "link", f"{origin}/api/v1/models")
    _add(channel, "description", "The models that this router serves")
    for row in page.rows:
        model = row.entry.model
        item = ElementTree.SubElement(channel, "item")
        _add(item, "title", model.name or row.id)
        _add(item, "link", f"{origin}/api/v1/models/{row.id}")
        _add(item, "guid", row.id, isPermaLink="false")
        _add(item, "description", model.description)
        if model.created:
            _add(item, "pubDate", formatdate(model.created, usegmt=True))
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document


def _add(parent: ElementTree.Element, name: str, text: str, **attributes: str) -> None:
    ElementTree.SubElement(parent, name, attributes).text = FORBIDDEN.sub("\ufffd", text)
