"""Zips that are the same bytes whenever they are made of the same files: one date, one order, plain permissions."""

from __future__ import annotations

import io
import stat
import zipfile
from collections.abc import Collection, Mapping

#: The earliest that a zip can say.
DATE = (1980, 1, 1, 0, 0, 0)


def packed(files: Mapping[str, bytes], *, runs: Collection[str] = (), compressed: bool = True) -> bytes:
    """A zip of these files in this order; those in ``runs`` may be executed.

    Without compression the bytes do not depend on the machine's zlib either.
    """
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            member = zipfile.ZipInfo(name, DATE)
            member.create_system = 3  # Unix, wherever it is made: else the permissions count for nothing
            member.compress_type = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
            member.external_attr = (stat.S_IFREG | (0o755 if name in runs else 0o644)) << 16
            archive.writestr(member, content)
    return stream.getvalue()
