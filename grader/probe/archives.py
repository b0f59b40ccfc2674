"""Saved models are archives that a student wrote: look at one before a library opens it, and hand on a plain copy.

Theory of operation. Only the clean sandbox reads saved models, under its caps of memory and time. Before Keras gets a
.keras file (a zip), it is checked for what no honest writer makes (too many members, sizes that lie, one name twice,
members that overlap, data before or between them, links, folders outside) and *repacked*: its members are written into a new
zip, uncompressed, and that one takes its place. What one reader of zip files sees is then what every reader sees. HDF5
files, by themselves or in a .keras, may hold nothing that leads to another file, and no array larger than their bytes
can fill.

A refusal is a ValueError in words for the student.
"""

from __future__ import annotations

import os
import shutil
import struct
import zipfile
from collections.abc import Iterator
from typing import Any

#: Keras writes three members, and one for each vocabulary of a text layer.
MEMBERS = 1000
#: Keras stores without compressing; deflate makes at most some 1:1032, and honest weights hardly shrink at all.
RATIO = 100
#: Below this a high ratio is no bomb: a configuration in JSON shrinks well.
SMALL = 16 << 20
NAME_CAP = 500
LOCAL_HEADER = struct.Struct("<4s5H3L2H")
END = struct.Struct("<4s4H2LH")
PIECE = 1 << 20
#: Keras compresses no array; what HDF5 itself needs beside the arrays makes a file larger, never smaller.
ARRAYS_RATIO, ARRAYS_SMALL = 4, 64 << 20
#: Groups and arrays of one HDF5 file. Keras writes two groups and a few arrays for each layer, and an optimizer two
#: arrays for each weight: 800 layers, among the most of its own applications, stay below 10,000. One takes 0.2 ms.
HDF5_MEMBERS = 20_000


def plain_copy(path: str) -> str:
    """Check the file, and put a repacked one in its place where it is an archive. Raises ValueError."""
    if zipfile.is_zipfile(path):
        fresh = f"{path}.repacked"
        try:
            repack(path, fresh)
            os.replace(fresh, path)
        finally:
            if os.path.exists(fresh):
                os.unlink(fresh)
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.filename.endswith(".h5"):
                    with archive.open(info) as member:
                        check_hdf5(member, info.file_size)
    elif os.path.isfile(path) and path.endswith((".h5", ".hdf5", ".keras")):
        with open(path, "rb") as file:
            check_hdf5(file, os.path.getsize(path))
    return path


def repack(path: str, fresh: str) -> None:
    """Write the members of a zip into a new one, if it is what it seems to be."""
    cap = shutil.disk_usage(os.path.dirname(os.path.abspath(path))).free
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                infos = checked(archive, file, cap)
                with zipfile.ZipFile(fresh, "w", zipfile.ZIP_STORED) as target:
                    for info in infos:
                        with target.open(zipfile.ZipInfo(info.filename), "w", force_zip64=True) as copy:
                            for piece in _pieces(archive, info):
                                copy.write(piece)
        except (zipfile.BadZipFile, NotImplementedError, EOFError, struct.error) as error:
            raise ValueError(f"the archive is damaged: {error}"[:300]) from None


def checked(archive: zipfile.ZipFile, file: Any, cap: int) -> list[zipfile.ZipInfo]:
    """The members of an archive that no honest writer would find odd. Raises ValueError."""
    infos = archive.infolist()
    size = file.seek(0, os.SEEK_END)
    if len(infos) > MEMBERS:
        raise ValueError(f"the archive has {len(infos)} members, more than {MEMBERS}")
    file.seek(max(0, size - END.size))
    if not file.read().startswith(b"PK\5\6") or archive.comment:
        raise ValueError("the archive has a comment, or data after its end")
    total = sum(info.file_size for info in infos)
    if total > cap:
        raise ValueError(f"the archive would unpack to {total >> 20} MiB, more than the {cap >> 20} MiB there are")
    if total > SMALL and total > RATIO * size:
        raise ValueError(f"the archive would unpack to {total // max(size, 1)} times its size")
    names: set[str] = set()
    for info in infos:
        _check_name(info, names)
    _check_places(infos, file, archive.start_dir)
    return infos


def _check_name(info: zipfile.ZipInfo, names: set[str]) -> None:
    name = info.filename
    shown = ascii(name)[:80]
    parts = name.rstrip("/").split("/")
    if len(name) > NAME_CAP or "\\" in name or ":" in name or not all(parts) or {".", ".."} & set(parts):
        raise ValueError(f"the archive has a member named {shown}")
    if name.casefold() in names:
        raise ValueError(f"the archive has {shown} twice")
    names.add(name.casefold())
    if info.orig_filename != name:
        raise ValueError(f"the archive has a member with two names, one of them {shown}")
    if info.flag_bits & 0x1:
        raise ValueError(f"{shown} in the archive is encrypted")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError(f"{shown} in the archive is compressed in an unusual way")
    if (info.external_attr >> 16) & 0o170000 not in (0, 0o100000, 0o040000):
        raise ValueError(f"{shown} in the archive is a link or a device")


def _check_places(infos: list[zipfile.ZipInfo], file: Any, directory: int) -> None:
    """Members follow one another from the first byte on, each under one name, and the directory comes right after."""
    at = 0
    for info in sorted(infos, key=lambda one: one.header_offset):
        if info.header_offset != at:
            raise ValueError("the archive has members that overlap, or data between them")
        file.seek(at)
        header = LOCAL_HEADER.unpack(file.read(LOCAL_HEADER.size))
        name_size, extra_size = header[-2:]
        name = file.read(name_size)
        if header[0] != b"PK\3\4" or name != info.orig_filename.encode("utf-8" if info.flag_bits & 0x800 else "cp437"):
            raise ValueError("the archive's members have other names than its directory says")
        at += LOCAL_HEADER.size + name_size + extra_size + info.compress_size
        if info.flag_bits & 0x8:  # sizes follow the data: 12 to 24 bytes, the signature is optional
            file.seek(at)
            at += _descriptor_size(file.read(24), info)
    if at != directory:
        raise ValueError("the archive has data that belong to no member")


def _descriptor_size(data: bytes, info: zipfile.ZipInfo) -> int:
    for signature in (b"PK\7\10", b""):
        for numbers in ("<3L", "<LQQ"):
            expected = signature + struct.pack(numbers, info.CRC, info.compress_size, info.file_size)
            if data.startswith(expected):
                return len(expected)
    raise ValueError("the archive's members have other sizes than its directory says")


def _pieces(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    """A member's bytes; never more than it declared, whatever its data say."""
    left = info.file_size
    with archive.open(info) as member:
        while piece := member.read(PIECE):
            left -= len(piece)
            if left < 0:
                raise ValueError("the archive unpacks to more than it declares")
            yield piece
    if left:
        raise ValueError("the archive unpacks to less than it declares")


# ---------------------------------------------------------------- HDF5


def check_hdf5(file: Any, size: int) -> None:
    """Nothing in it may lead elsewhere or to one group twice, and its arrays must be there. Raises ValueError.

    What is no HDF5 file is left alone.
    """
    import h5py

    try:
        opened = h5py.File(file, "r")
    except OSError:  # Keras says what it is instead
        return
    with opened:
        left = ARRAYS_RATIO * size + ARRAYS_SMALL
        waiting, seen = [opened["/"]], 0
        visited: set[int] = set()
        while waiting:
            group = waiting.pop()
            address = h5py.h5o.get_info(group.id).addr
            if address in visited:  # hard links: a ring of them has no end, and a ladder 2**n ways down
                raise ValueError(f"{ascii(group.name)[:80]} in the HDF5 file leads back to itself or to another group")
            visited.add(address)
            for name in group:
                seen += 1
                if seen > HDF5_MEMBERS:
                    raise ValueError("the HDF5 file has too many members")
                if type(group.get(name, getlink=True)) is not h5py.HardLink:
                    raise ValueError(f"{ascii(name)[:80]} in the HDF5 file is a link to somewhere else")
                member = group[name]
                if isinstance(member, h5py.Group):
                    waiting.append(member)
                elif isinstance(member, h5py.Dataset):
                    if member.external or member.is_virtual:
                        raise ValueError(f"{ascii(name)[:80]} in the HDF5 file keeps its data in another file")
                    left -= member.size * member.dtype.itemsize if member.size else 0
                    if left < 0:
                        raise ValueError("the HDF5 file declares larger arrays than it holds")
