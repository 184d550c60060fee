"""Every link of the documentation leads to a file and a heading that exist."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(page for glob in ("*.md", "docs/**/*.md", "plugins/*/*.md") for page in ROOT.glob(glob))
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(CODE.sub("", page.read_text(encoding="utf-8")))

    assert [link for link in links if not leads_somewhere(page, link)] == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One `router keys` heading\n\n```\n# no heading\n```\n")

    assert leads_somewhere(page, "#one-router-keys-heading")
    assert leads_somewhere(page, "page.md#one-router-keys-heading")
    assert not leads_somewhere(page, "#no-heading")
    assert not leads_somewhere(page, "missing.md")


def leads_somewhere(page: Path, link: str) -> bool:
    """Whether a relative link has a target; addresses with a scheme are not asked."""
    if re.match(r"[a-z]+:", link):
        return True
    path, _, anchor = link.partition("#")
    target = page.parent / path if path else page
    return target.exists() and (not anchor or anchor in anchors(target))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub and GitLab make them."""
    headings = re.findall(r"^#+ +(.+?)[ #]*$", FENCE.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
