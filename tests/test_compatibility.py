"""The page of clients: how it is made, and that the one in docs/ promises nothing that a run did not show."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.clients.table import FEATURES, NO_VECTORS, PAGE, SURFACES, merged, page

CHAT = SURFACES[0]


def line(feature: str, outcome: str = "yes", **members: str) -> dict[str, str]:
    """What a test wrote."""
    about = {"client": "openai", "version": "3.57.0", "surface": CHAT, "family": "openai"}
    return about | {"feature": feature, "outcome": outcome} | members


def rows(text: str) -> Iterator[dict[str, str]]:
    """Every row of every table, by the names of its columns."""
    names: list[str] = []
    for each in text.splitlines():
        if not each.startswith("| "):
            names = []
        elif not names:
            names = cells_of(each)
        elif not each.startswith("| ---"):
            yield dict(zip(names, cells_of(each), strict=True))


def cells_of(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("| ").split("|")]


def test_one_test_of_several_that_failed_is_a_no() -> None:
    table = merged([("current", [line("errors"), line("errors", "no"), line("errors"), line("plain")])])

    [row] = rows(page(table))
    assert (row["plain"], row["errors"]) == ("yes", "no")


def test_a_cell_without_a_yes_has_a_note() -> None:
    lacking = line("structured", "not in this client", reason="It is too old.", version="1.0.0")
    claude = line("plain", family="anthropic")

    text = page(merged([("current", [line("embeddings"), line("structured"), lacking, claude])]))

    newest, vectorless, oldest = rows(text)
    assert (newest["version"], newest["structured"], newest["embeddings"]) == ("3.57.0", "yes", "yes")
    assert (vectorless["models of"], oldest["version"]) == ("anthropic", "1.0.0")
    notes = dict(re.findall(r"^(\d+)\. (.+)$", text, re.MULTILINE))
    assert notes[note_of(vectorless["embeddings"])] == NO_VECTORS
    assert notes[note_of(oldest["structured"])] == "It is too old."


def test_packages_of_the_same_name_are_told_apart() -> None:
    table = merged([("current", [line("plain")]), ("node", [line("plain", "no")])])

    assert [(row["client"], row["plain"]) for row in rows(page(table))] == [("openai", "yes"), ("openai (Node)", "no")]


def test_every_surface_has_its_own_columns_in_order() -> None:
    text = page(merged([("current", [line("cancel"), line("plain"), line("stream", surface=SURFACES[2])])]))

    first, second = rows(text)
    assert [list(first)[3:], list(second)[3:]] == [["plain", "cancel"], ["stream"]]
    assert text.index(f"## {CHAT}") < text.index(f"## {SURFACES[2]}")


def test_the_page_says_yes_or_why_not() -> None:
    text = PAGE.read_text(encoding="utf-8")
    notes = dict(re.findall(r"^(\d+)\. (.+)$", text, re.MULTILINE))

    found = list(rows(text))

    assert len(found) > 60
    for row in found:
        for feature in FEATURES:
            cell = row.get(feature, "yes")
            assert cell == "yes" or notes.get(note_of(cell)), f"{row['client']} {row['version']}, {feature}: {cell}"


def test_the_page_holds_every_client_on_every_family() -> None:
    """In one version or another: these move faster than the page."""
    found = {(row["client"], row["models of"]) for row in rows(PAGE.read_text(encoding="utf-8"))}

    python = {"openai", "anthropic", "google-genai", "litellm", "llm"}
    python |= {f"langchain-{name}" for name in ("openai", "anthropic", "google-genai")}
    node = {f"{name} (Node)" for name in ("openai", "@anthropic-ai/sdk", "@ai-sdk/openai")}
    assert found >= {(client, family) for client in python | node for family in ("openai", "anthropic", "gemini")}


def note_of(cell: str) -> str:
    told = re.search(r"<sup>(\d+)</sup>$", cell)
    return told[1] if told else ""
