"""Records of a class of any size, out of memory: each lies encoded in a file that has no name.

Nothing of a submission is opened a second time for it: what was read once, and hashed, is what comes back.
"""

from __future__ import annotations

import tempfile
import weakref
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, TypeVar, overload

import msgspec

from grader.errors import OursError

Kind = TypeVar("Kind", bound=msgspec.Struct)
Seen = TypeVar("Seen")
#: Bytes that are held in memory before there is a file: a student who checks one notebook needs none.
IN_MEMORY = 2**20


class Shelf(Sequence[Kind]):
    """A sequence of records of one type, which takes 8 bytes of memory for each. Each look makes the record anew.

    For one thread. Raises OursError where the temporary folder is full.
    """

    def __init__(self, kind: type[Kind], records: Iterable[Kind] = ()) -> None:
        self._file = tempfile.SpooledTemporaryFile(IN_MEMORY, prefix="grader-")  # noqa: SIM115 - closed with the shelf
        weakref.finalize(self, self._file.close)
        self._ends = array("Q", [0])
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._encoder = msgspec.msgpack.Encoder()
        for record in records:
            self.append(record)

    def append(self, record: Kind) -> None:
        """Put it at the end."""
        data = self._encoder.encode(record)
        try:
            self._file.seek(self._ends[-1])
            self._file.write(data)
            self._file.flush()
        except OSError as error:
            fix = "make room there, or name another folder in TMPDIR"
            what = f"cannot be written: {error.strerror or error}"
            raise OursError(what, where=tempfile.gettempdir(), fix=fix) from error
        self._ends.append(self._ends[-1] + len(data))

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __iter__(self) -> Iterator[Kind]:
        return (self._at(place) for place in range(len(self)))

    @overload
    def __getitem__(self, place: int) -> Kind: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Kind]: ...

    def __getitem__(self, place: int | slice) -> Kind | Sequence[Kind]:
        places = range(len(self))[place]
        return self._at(places) if isinstance(places, int) else [self._at(one) for one in places]

    def _at(self, place: int) -> Kind:
        begin, end = self._ends[place], self._ends[place + 1]
        self._file.seek(begin)
        return self._decoder.decode(self._file.read(end - begin))


class View(Sequence[Seen], Generic[Kind, Seen]):
    """What ``make`` makes of those records of a sequence that are at ``places``, in that order; anew at each look."""

    def __init__(self, records: Sequence[Kind], places: Iterable[int], make: Callable[[Kind], Seen]) -> None:
        self._records, self._places, self._make = records, array("Q", places), make

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Seen: ...

    @overload
    def __getitem__(self, place: slice) -> Sequence[Seen]: ...

    def __getitem__(self, place: int | slice) -> Seen | Sequence[Seen]:
        if isinstance(place, slice):
            return View(self._records, self._places[place], self._make)
        return self._make(self._records[self._places[place]])
