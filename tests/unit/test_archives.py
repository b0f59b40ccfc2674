"""Saved models as archives: what Keras writes passes and is repacked, what no honest writer makes is refused."""

from __future__ import annotations

import contextlib
import io
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.probe import archives
from grader.probe.archives import plain_copy


def hdf5(fill=lambda file: file.create_dataset("layers/dense/kernel", data=np.ones((4, 3), "f4"))):
    data = io.BytesIO()
    with h5py.File(data, "w") as file:
        fill(file)
    return data.getvalue()


HONEST = {"metadata.json": b"{}", "config.json": b'{"class_name": "Sequential"}', "model.weights.h5": hdf5()}


def write(path, members=HONEST, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return str(path)


def contents(path):
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_an_honest_archive_is_repacked_and_says_the_same(tmp_path, method):
    """In the same place, uncompressed, and nothing is left beside it."""
    path = write(tmp_path / "model.keras", compression=method)
    assert plain_copy(path) == path
    assert contents(path) == HONEST
    with zipfile.ZipFile(path) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
    assert [file.name for file in tmp_path.iterdir()] == ["model.keras"]
    plain_copy(path)
    assert contents(path) == HONEST


def test_an_archive_that_was_streamed_is_honest_too(tmp_path):
    """Its sizes stand behind the data."""

    class Stream(io.RawIOBase):
        data = b""

        def writable(self):
            return True

        def write(self, piece):
            self.data += bytes(piece)
            return len(piece)

    stream = Stream()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in HONEST.items():
            archive.writestr(name, data)
    path = tmp_path / "model.keras"
    path.write_bytes(stream.data)
    assert contents(plain_copy(str(path))) == HONEST


def test_what_is_no_archive_is_left_alone(tmp_path):
    """Keras says what it is."""
    for name, data in (("model.keras", b"nothing"), ("model.h5", b""), ("weights.h5", hdf5())):
        path = tmp_path / name
        path.write_bytes(data)
        plain_copy(str(path))
        assert path.read_bytes() == data


def refused(path, match):
    before = path.read_bytes()
    with pytest.raises(ValueError, match=match):
        plain_copy(str(path))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "name", ["../config.json", "/config.json", "a/../b", "a//b", "c:\\x", "a\\b", "./a", "x" * 501], ids=ascii
)
def test_a_member_that_would_lie_elsewhere_is_refused(tmp_path, name):
    """Whatever a library would make of its name."""
    refused(Path(write(tmp_path / "m.keras", {**HONEST, name: b"x"})), "member named")


def test_a_bomb_is_refused_by_its_ratio_before_it_is_unpacked(tmp_path):
    """A configuration of zeros, as large as a disk and as small as a letter."""
    path = write(tmp_path / "m.keras", {**HONEST, "config.json": bytes(40 << 20)}, compression=zipfile.ZIP_DEFLATED)
    refused(Path(path), "times its size")


def test_more_than_there_is_room_for_is_refused(tmp_path, monkeypatch):
    """By what it declares."""
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda folder: type("Usage", (), {"free": 10}))
    refused(Path(write(tmp_path / "m.keras")), "unpack to")


def test_too_many_members_are_refused(tmp_path):
    """Each costs a library an object."""
    refused(Path(write(tmp_path / "m.keras", {str(n): b"" for n in range(archives.MEMBERS + 1)})), "members, more than")


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("again", ["config.json", "CONFIG.json"])
def test_one_name_twice_is_refused(tmp_path, again):
    """Readers differ on which of the two they take, and file systems on capital letters."""
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", b"{}")
        archive.writestr(again, b"[]")
    refused(path, "twice")


def test_data_that_belong_to_no_member_are_refused(tmp_path):
    """Before the first member, where another format could begin, after the end, in a comment, or in between."""
    whole = Path(write(tmp_path / "m.keras")).read_bytes()
    for data in (b"\x89HDF\r\n\x1a\n" + whole, whole + b"more", whole[:-2] + struct.pack("<H", 4) + b"more"):
        (tmp_path / "m.keras").write_bytes(data)
        refused(tmp_path / "m.keras", "overlap|after its end|names|belong")


def test_members_that_overlap_are_refused(tmp_path):
    """Two entries of the directory that point at the same bytes: many of them make a bomb of any size."""
    path = Path(write(tmp_path / "m.keras", {"a": b"1" * 50, "b": b"2" * 50}))
    data = bytearray(path.read_bytes())
    second = data.rindex(b"PK\1\2")
    data[second + 42 : second + 46] = bytes(4)  # the offset of its local header
    path.write_bytes(data)
    refused(path, "overlap")


def test_two_names_for_one_member_are_refused(tmp_path):
    """One in the directory and one before the data: which is read depends on the reader."""
    path = Path(write(tmp_path / "m.keras", {"config.json": b"{}"}))
    path.write_bytes(path.read_bytes().replace(b"config.json", b"konfig.json", 1))
    refused(path, "names")


def test_sizes_that_lie_are_refused(tmp_path):
    """The data inflate to more than was declared."""
    path = Path(write(tmp_path / "m.keras", {"config.json": b"x" * 5000}, compression=zipfile.ZIP_DEFLATED))
    data = bytearray(path.read_bytes())
    for signature, at in ((b"PK\3\4", 22), (b"PK\1\2", 24)):
        start = data.index(signature) + at
        data[start : start + 4] = struct.pack("<L", 100)
    path.write_bytes(data)
    refused(path, "damaged|more than it declares")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda info: setattr(info, "external_attr", 0o120777 << 16), "link"),
        (lambda info: setattr(info, "compress_type", zipfile.ZIP_LZMA), "unusual"),
    ],
)
def test_links_and_rare_compressions_are_refused(tmp_path, change, match):
    """No writer of models makes them."""
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w") as archive:
        info = zipfile.ZipInfo("config.json")
        change(info)
        archive.writestr(info, b"/etc/passwd")
    refused(path, match)


@given(at=st.integers(0, 2000), bit=st.integers(0, 7), cut=st.integers(0, 3))
@settings(max_examples=200)
def test_a_damaged_archive_is_refused_or_still_an_archive(tmp_path_factory, at, bit, cut):
    """Whatever bit is flipped and wherever it is cut: no error but a refusal, which is told to the student."""
    path = tmp_path_factory.mktemp("damaged") / "m.keras"
    data = bytearray(Path(write(path, {"config.json": b"{}" * 20, "a.txt": b"y" * 300})).read_bytes())
    data[at % len(data)] ^= 1 << bit
    path.write_bytes(data[: len(data) - cut])
    with contextlib.suppress(ValueError):
        plain_copy(str(path))


# ---------------------------------------------------------------- HDF5


def external(file):
    file["kernel"] = h5py.ExternalLink("/etc/passwd", "/x")


def soft(file):
    file["kernel"] = h5py.SoftLink("/elsewhere")


def on_the_way(file):
    file.create_group("layers")["dense"] = h5py.ExternalLink("other.h5", "/layers/dense")


def stored_elsewhere(file):
    file.create_dataset("kernel", (4,), "u1", external=[("/etc/passwd", 0, 4)])


def virtual(file):
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "x", (4,))
    file.create_virtual_dataset("kernel", layout)


def ring(file):
    file.create_group("layers")["again"] = file["/"]


def ladder(file):
    """Thirty groups, each of which is in the one before under two names."""
    below = file.create_group("layers")
    for _ in range(30):
        below["other"] = below.create_group("one")
        below = below["one"]


def bomb(file):
    file.create_dataset("kernel", (1 << 32,), "f4", chunks=(1024,))


def test_hdf5_with_too_many_members_is_refused(tmp_path, monkeypatch):
    """Each costs an object, here and in a library."""
    path = tmp_path / "m.h5"
    path.write_bytes(hdf5(lambda file: [file.create_group(f"layer {number}") for number in range(11)]))
    plain_copy(str(path))
    monkeypatch.setattr(archives, "HDF5_MEMBERS", 10)
    with pytest.raises(ValueError, match="too many members"):
        plain_copy(str(path))


@pytest.mark.parametrize("fill", [ring, ladder], ids=lambda f: f.__name__)
def test_a_group_with_several_names_is_refused_at_once(tmp_path, fill, monkeypatch):
    """Before its members are counted again and again: the student is told of the link, not of too many members."""
    path = tmp_path / "m.h5"
    path.write_bytes(hdf5(fill))
    monkeypatch.setattr(archives, "HDF5_MEMBERS", 100)
    with pytest.raises(ValueError, match="leads back"):
        plain_copy(str(path))


@pytest.mark.parametrize(
    "fill",
    [external, soft, on_the_way, stored_elsewhere, virtual, ring, ladder, bomb],
    ids=lambda f: f.__name__,
)
@pytest.mark.parametrize("inside", [True, False], ids=["in an archive", "by itself"])
def test_hdf5_that_leads_elsewhere_or_declares_what_it_has_not_is_refused(tmp_path, fill, inside):
    """Alone as weights or a legacy model, and as the weights of a .keras file."""
    path = tmp_path / ("m.keras" if inside else "m.h5")
    if inside:
        write(path, {**HONEST, "model.weights.h5": hdf5(fill)})
    else:
        path.write_bytes(hdf5(fill))
    with pytest.raises(ValueError, match="HDF5"):
        plain_copy(str(path))
