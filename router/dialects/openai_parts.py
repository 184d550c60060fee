"""Parts of messages as both of OpenAI's APIs for conversations write them: images and files by URL, data URL or id, and cache marks."""

from __future__ import annotations

from typing import Protocol

from msgspec import Raw

from ..errors import BadRequest
from ..model import AnyPart, File, Image
from ..wire.openai import given

#: OpenAI's `prompt_cache_breakpoint` in the words of all others
_BREAKPOINT = Raw(b'{"type":"ephemeral"}')


class Marked(Protocol):
    """What a cache mark can stand on."""

    cache_control: Raw
    prompt_cache_breakpoint: Raw


class GivenFile(Protocol):
    """The members of a file, wherever they stand."""

    file_id: str | None
    file_url: str | None
    file_data: str | None
    filename: str | None


def image_of(url: str, detail: str | None, place: str) -> Image:
    """An image by URL, or the content of a data URL. Raises BadRequest for other URLs."""
    media_type, data = data_url(url, place)
    if data:
        return Image(data=data, media_type=media_type, detail=detail)
    if not url.startswith(("http://", "https://")):
        raise BadRequest(f"{place} must be an http, https or data URL", param=place)
    return Image(url=url, detail=detail)


def file_of(file: GivenFile, place: str) -> File:
    """A file by id, URL or content. Raises BadRequest where there is none of them."""
    if file.file_id:
        return File(file_id=file.file_id, filename=file.filename)
    if file.file_url:
        return File(url=file.file_url, filename=file.filename)
    if not file.file_data:
        raise BadRequest(f"{place} needs one of file_data, file_id and file_url", param=place)
    if file.file_data.startswith(("http://", "https://")):
        return File(url=file.file_data, filename=file.filename)
    media_type, data = data_url(file.file_data, f"{place}.file_data")
    return File(data=data or file.file_data, media_type=media_type or "application/pdf", filename=file.filename)


def data_url(url: str, place: str) -> tuple[str, str]:
    """Media type and base64 text of a data URL; empty where it is another one. Raises BadRequest where it is not base64."""
    if not url.startswith("data:"):
        return "", ""
    head, comma, data = url[5:].partition(",")
    if not comma or not head.endswith(";base64"):
        raise BadRequest(f"{place}: data URLs must be of the form data:<media type>;base64,<data>", param=place)
    return head.partition(";")[0], data


def mark(part: AnyPart, marked: Marked) -> None:
    """The cache mark of what came, on the part that it became."""
    if given(marked.cache_control):
        part.cache_control = marked.cache_control
    elif given(marked.prompt_cache_breakpoint):
        part.cache_control = _BREAKPOINT
