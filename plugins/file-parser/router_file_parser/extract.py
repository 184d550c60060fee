"""The text of a PDF or of an HTML page.

Run as a script, in a process with bounds: a document of a stranger's may be made to take for ever. It therefore imports nothing of the
router. Its input is a line of JSON and the document, its output JSON: `text`, or a `problem` to tell the client.
"""

from __future__ import annotations

import io
import json
import logging
import sys
from html.parser import HTMLParser
from typing import Any

SCAN = "it has no text, only pictures of pages (a scan); send it to a model that reads files itself, or the pages as images"
BROKEN = "the PDF is broken and cannot be read; print it to a new PDF and send that"
ENCRYPTED = "the PDF is encrypted; remove its password and send it again"
_UNSEEN = frozenset({"script", "style", "template", "noscript", "head"})
_BLOCKS = frozenset(
    {
        "p",
        "div",
        "br",
        "li",
        "tr",
        "table",
        "ul",
        "ol",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "section",
        "article",
        "pre",
        "blockquote",
    }
)


def pdf_text(content: bytes, max_pages: int, max_chars: int) -> dict[str, Any]:
    """The text of all pages, page by page."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError, FileNotDecryptedError

    try:
        reader = PdfReader(io.BytesIO(content))
        # A PDF may be encrypted without a password: against changes only.
        if reader.is_encrypted and not reader.decrypt(""):
            return {"problem": ENCRYPTED}
        count = len(reader.pages)
        if count > max_pages:
            return {"problem": f"it has {count} pages, more than the {max_pages} that are read; send a part of it"}
        return _pages(reader, max_chars)
    except (DependencyError, FileNotDecryptedError):
        return {"problem": ENCRYPTED}
    except (MemoryError, RecursionError):
        raise
    except Exception:  # noqa: BLE001
        # pypdf raises whatever comes of a broken file: KeyError, TypeError, its own errors.
        return {"problem": BROKEN}


def _pages(reader: Any, max_chars: int) -> dict[str, Any]:
    texts: list[str] = []
    size = 0
    for page in reader.pages:
        texts.append(page.extract_text().strip())
        size += len(texts[-1])
        if size > max_chars:
            return {"problem": f"its text is longer than the {max_chars // 1024} kB that are left; send a part of it"}
    text = "\n\n".join(each for each in texts if each)
    return {"text": text, "pages": len(texts)} if text else {"problem": SCAN if texts else BROKEN}


class _Page(HTMLParser):
    """Collects what a reader would see."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in _UNSEEN
        if tag in _BLOCKS:
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._hidden -= tag in _UNSEEN and self._hidden > 0
        if tag in _BLOCKS:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.pieces.append(data)


def html_text(content: str) -> str:
    """The visible text, a block a line."""
    page = _Page()
    page.feed(content)
    page.close()
    lines = (" ".join(line.split()) for line in "".join(page.pieces).splitlines())
    return "\n".join(line for line in lines if line)


def main() -> None:
    """Read and write."""
    logging.disable()
    asked = json.loads(sys.stdin.buffer.readline())
    content = sys.stdin.buffer.read()
    if asked["kind"] == "html":
        found: dict[str, Any] = {"text": html_text(content.decode())}
    else:
        found = pdf_text(content, asked["max_pages"], asked["max_chars"])
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
