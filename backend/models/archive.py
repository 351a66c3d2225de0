"""The zip archive of torch.save, as views of the file: parts are never unpacked, never written anywhere."""

from __future__ import annotations

import io
import re
import struct
import zipfile
from dataclasses import dataclass

from .pickles import RefusalError
from .weights import shown

LARGEST_INDEX = (
    2 << 20
)  # bytes of the archive's table of contents, thirty times that of a large model; it is walked entry by entry
LARGEST_PROGRAM = 64 << 20  # bytes of data.pkl
LOCAL = struct.Struct("<4s22xHH")  # of a part's own header: signature, lengths of name and of extra field
PART = re.compile(r"data\.pkl|data/[A-Za-z0-9_]{1,64}|version|byteorder|\.[a-z_]+|\.data/serialization_id")


@dataclass(frozen=True, eq=False)
class Entry:
    """A part of an archive."""

    data: memoryview
    crc: int  # 0 where none was written


class _Window(io.RawIOBase):
    """The file as zipfile wants it, which gives no more than a table of contents may take."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._position = 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: len(self._data)}[whence]
        if base + offset < 0:
            raise OSError("before the beginning")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, len(self._data) - self._position)
        size = left if size is None or size < 0 else min(size, left)
        if size > LARGEST_INDEX:
            raise RefusalError("holds far more parts than any model does")
        self._position += size
        return bytes(self._data[self._position - size : self._position])


def entries_of(data: memoryview) -> dict[str, Entry]:
    """The parts of an archive of torch.save, by their names without the folder that all are in.

    Raises:
        RefusalError: the archive is damaged or no such one: parts that are packed or encrypted, lie over each other or
            outside of the file, have the same name, or a name that torch.save does not give.
    """
    try:
        with zipfile.ZipFile(_Window(data)) as archive:  # pyright: ignore[reportArgumentType]
            infos = archive.infolist()
    except RefusalError:
        raise
    except (zipfile.BadZipFile, NotImplementedError, OSError, ValueError, struct.error, EOFError) as error:
        raise RefusalError("is a damaged archive, cut off perhaps") from error
    roots = {info.filename.partition("/")[0] for info in infos}
    if len(roots) != 1:
        raise RefusalError("is an archive of something else than a model (its parts are not in one folder)")
    root = roots.pop()
    entries: dict[str, Entry] = {}
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        name = info.filename.removeprefix(f"{root}/")
        if not PART.fullmatch(name):
            raise RefusalError(f"is an archive with a part {shown(info.filename)}, which no model has")
        if name in entries:
            raise RefusalError(f"is an archive with two parts {shown(name)}")
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size or info.flag_bits & 1:
            raise RefusalError(f"is an archive with a packed part {shown(name)}, which torch.save does not write")
        if info.header_offset < end:
            raise RefusalError("is a damaged archive (parts lie over each other)")
        start, end = _place(data, info)
        entries[name] = Entry(data[start:end], info.CRC)
    if "data.pkl" not in entries or len(entries["data.pkl"].data) > LARGEST_PROGRAM:
        raise RefusalError("is an archive of something else than a model (it lacks data.pkl)")
    return entries


def _place(data: memoryview, info: zipfile.ZipInfo) -> tuple[int, int]:
    """Where a part's bytes begin and end."""
    after = info.header_offset + LOCAL.size
    if info.header_offset < 0 or after > len(data):
        raise RefusalError("is a damaged archive, cut off perhaps")
    signature, name, extra = LOCAL.unpack_from(data, info.header_offset)
    start = after + name + extra
    if signature != b"PK\x03\x04" or start + info.file_size > len(data):
        raise RefusalError("is a damaged archive, cut off perhaps")
    if bytes(data[after : after + name]) != info.orig_filename.encode("utf-8", "replace"):
        raise RefusalError("is a damaged archive (a part has two names)")
    return start, start + info.file_size
