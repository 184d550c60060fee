"""Where an answer's words come from: grounding and quotations as URL citations."""

from __future__ import annotations

from collections.abc import Iterator

from router import Citation
from router.wire.gemini import CitationMetadata, CitationSource, GroundingChunk, GroundingMetadata, Segment, Source


class Sources:
    """Collects what a candidate says about its sources, for the end: offsets need the whole text."""

    def __init__(self) -> None:
        self._grounding: GroundingMetadata | None = None
        self._quoted: list[CitationSource] = []

    @property
    def queries(self) -> int:
        """How many searches were made."""
        return len(self._grounding.web_search_queries or ()) if self._grounding else 0

    def add(self, grounding: GroundingMetadata | None, quoted: CitationMetadata | None) -> None:
        """Take in what came with a piece of the answer. Of grounding the last that is not empty counts."""
        if grounding is not None and (grounding.grounding_chunks or grounding.web_search_queries):
            self._grounding = grounding
        if quoted is not None:
            self._quoted += quoted.citation_sources or quoted.citations or ()

    def citations(self, text: str) -> Iterator[Citation]:
        """The citations of this text."""
        if self._grounding is not None:
            yield from _grounded(self._grounding, text)
        seen = set()
        for each in self._quoted:
            key = (each.uri, each.start_index, each.end_index)
            if each.uri and key not in seen:
                seen.add(key)
                start, end = _span(text, Segment(start_index=each.start_index, end_index=each.end_index))
                yield Citation(url=each.uri, title=each.title or "", start_index=start, end_index=end)


def _grounded(grounding: GroundingMetadata, text: str) -> Iterator[Citation]:
    sources = [_source(chunk) for chunk in grounding.grounding_chunks or ()]
    used = set()
    for support in grounding.grounding_supports or ():
        segment = support.segment or Segment()
        start, end = _span(text, segment)
        for number in support.grounding_chunk_indices or ():
            source = sources[number] if 0 <= number < len(sources) else None
            if source is not None and source.uri:
                used.add(number)
                yield Citation(
                    url=source.uri,
                    title=source.title or "",
                    start_index=start,
                    end_index=end,
                    content=segment.text or "",
                )
    for number, source in enumerate(sources):
        if number not in used and source is not None and source.uri:
            yield Citation(url=source.uri, title=source.title or "")


def _source(chunk: GroundingChunk) -> Source | None:
    return chunk.web or chunk.maps or chunk.retrieved_context


def _span(text: str, segment: Segment) -> tuple[int, int]:
    """Offsets in characters. Google counts bytes, and counts from the start of a part, which need not be the text's."""
    encoded = text.encode()
    start = len(encoded[: segment.start_index or 0].decode(errors="ignore"))
    end = len(encoded[: segment.end_index or 0].decode(errors="ignore"))
    if segment.text and text[start:end] != segment.text:
        start = text.find(segment.text)
        return (start, start + len(segment.text)) if start >= 0 else (0, 0)
    return start, max(start, end)
