"""What the operator sets, and what a request wishes."""

from __future__ import annotations

from msgspec import Struct

ID = "file-parser"


class Settings(Struct, kw_only=True, forbid_unknown_fields=True):
    """`[plugins.file-parser]`: bounds of a request. `seconds` are for reading one file; `max_text_kb` for the text of all of them."""

    max_files: int = 10
    max_pages: int = 1000
    max_mb: int = 20
    max_text_kb: int = 4096
    seconds: float = 20


class Wish(Struct, kw_only=True):
    """Which engine (None: the model's own if it has one, else ours), and how many files at most."""

    settings: Settings
    engine: str | None = None
    files: int = 10
