"""Attainment by level -> one PNG: a bar for the replies and one for the fixes, met apart from missed.

It brings its own dark ground, so that it reads the same in a light and in a dark mail program; missed is hatched, so
that nobody needs to tell colours apart.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

# Twice the size at which it is shown, for sharp screens.
_SCALE = 2
_WIDTH = 552
_ROW = 46
_TOP = 44
_BAR_LEFT, _BAR_RIGHT = 146, 426
_GROUND, _INK, _QUIET = "#24343f", "#eef2f4", "#b3c0c7"
_MET, _MISSED, _TRACK = "#6fc3a4", "#f0a35e", "#33464f"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """One level: its name, and (met, missed) of its replies and of its fixes."""

    name: str
    replies: tuple[int, int]
    fixes: tuple[int, int]


def attainment(rows: Sequence[Bars]) -> bytes:
    """Return the chart of *rows*, in their order, as PNG; 1104 pixels wide, to be shown at 552."""
    height = _TOP + _ROW * len(rows) + 14
    image = Image.new("RGB", (_WIDTH * _SCALE, height * _SCALE), _GROUND)
    draw = ImageDraw.Draw(image)
    _legend(draw)
    for number, row in enumerate(rows):
        top = _TOP + _ROW * number
        _text(draw, 18, top + 7, row.name, _INK, 16)
        for offset, word, counts in ((0, "reply", row.replies), (19, "fix", row.fixes)):
            _bar(draw, top + offset, counts)
            total = sum(counts)
            _text(draw, _BAR_RIGHT + 10, top + offset - 3, _said(word, *counts), _INK if total else _QUIET, 13)
    out = io.BytesIO()
    image.quantize(32).save(out, "PNG", optimize=True)
    return out.getvalue()


def _said(word: str, met: int, missed: int) -> str:
    """Return the figures of one bar in the room there is for them: counts beyond a thousand as a share of all."""
    total = met + missed
    if not total:
        return f"{word}: none"
    return f"{word} {met} of {total}" if total < 1000 else f"{word} {met * 100 // total}% of {total}"


def _legend(draw: ImageDraw.ImageDraw) -> None:
    for left, colour, word in ((_BAR_LEFT, _MET, "met"), (_BAR_LEFT + 76, _MISSED, "missed")):
        _box(draw, left, 17, left + 22, 28, colour)
        if colour == _MISSED:
            _hatch(draw, left, 17, left + 22, 28)
        _text(draw, left + 29, 13, word, _QUIET, 14)


def _bar(draw: ImageDraw.ImageDraw, top: int, counts: tuple[int, int]) -> None:
    met, missed = counts
    _box(draw, _BAR_LEFT, top, _BAR_RIGHT, top + 13, _TRACK)
    if met + missed == 0:
        return
    middle = _BAR_LEFT + round((_BAR_RIGHT - _BAR_LEFT) * met / (met + missed))
    if met:
        _box(draw, _BAR_LEFT, top, middle, top + 13, _MET)
    if missed:
        # One miss of hundreds must still be seen.
        middle = min(middle, _BAR_RIGHT - 4)
        _box(draw, middle, top, _BAR_RIGHT, top + 13, _MISSED)
        _hatch(draw, middle, top, _BAR_RIGHT, top + 13)


def _box(draw: ImageDraw.ImageDraw, left: int, top: int, right: int, bottom: int, colour: str) -> None:
    draw.rectangle((left * _SCALE, top * _SCALE, right * _SCALE - 1, bottom * _SCALE - 1), fill=colour)


def _hatch(draw: ImageDraw.ImageDraw, left: int, top: int, right: int, bottom: int) -> None:
    for at in range(left * _SCALE, right * _SCALE, 6 * _SCALE):
        draw.line((at, bottom * _SCALE - 1, at, top * _SCALE), fill=_GROUND, width=_SCALE)


def _text(draw: ImageDraw.ImageDraw, left: int, top: int, words: str, colour: str, size: int) -> None:
    draw.text((left * _SCALE, top * _SCALE), words, fill=colour, font=ImageFont.load_default(size * _SCALE))
