"""Pictures are decoded and drawn again before they reach a page.

What is embedded is never the bytes that arrived: size and pixels are checked on the header before anything is
decompressed, Pillow may only read PNG, and a fresh PNG of the pixels alone is written (no metadata, no second
frame, no trailing bytes). A picture that does not pass is left out.
"""

from __future__ import annotations

import base64
import io
import struct

from PIL import Image

MAX_BYTES = 512 * 1024
MAX_SIDE = 1024
SHOWN_SIDE = 160
"""A picture is drawn at most this large, so a card with two dozen of them stays small."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def data_uri(png: bytes) -> str | None:
    """The picture as a ``data:`` address, or nothing when it is not a small, sound PNG."""
    if not 33 <= len(png) <= MAX_BYTES or not png.startswith(_SIGNATURE) or png[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", png[16:24])
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        return None
    try:
        with Image.open(io.BytesIO(png), formats=("PNG",)) as source:
            grey = source.mode in {"1", "L", "I", "I;16"}
            drawn = source.convert("L" if grey else "RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None  # Pillow's documented ways of refusing a damaged file
    drawn.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    clean = Image.new(drawn.mode, drawn.size)
    clean.paste(drawn)
    written = io.BytesIO()
    clean.save(written, "PNG")
    return "data:image/png;base64," + base64.b64encode(written.getvalue()).decode("ascii")
