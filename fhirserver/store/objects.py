"""DICOM and Binary content at rest: begun, written, then finished or abandoned.

An object is invisible until it is finished, whole and on disk, so a reader never meets half of one. A local folder
keeps objects by default; `FHIRSERVER_OBJECTS_URI` may name an S3-compatible store, which obstore speaks. Uploads are
always written to a local temporary file first: a client that goes away, or a crash, leaves nothing but that file, and
`sweep` removes it at the next start.
"""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import re
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, Self

from pymongo.errors import PyMongoError

from fhirserver.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from fhirserver.config import Config

CHUNK: Final = 1 << 20
"""Bytes handed over at a time: large enough for the disk, small enough for many readers at once."""

SYNCS: Final = 8
"""Files of one process that are written to the disk at once."""

_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_NOTE = ".pending"
_UPLOAD = ".upload"


class Place(Protocol):
    """Where finished objects live: a folder, or a bucket."""

    def keep(self, file: Path, key: str) -> None:
        """Make `file` the object `key`, in one step; the file is gone afterwards."""

    def settle(self, keys: Sequence[str]) -> None:
        """Return once the names of these objects survive a loss of power."""

    def read(self, key: str, start: int, length: int | None) -> Iterator[bytes]:
        """The bytes from `start`, at most `length` of them; NotFound where there is no such object."""

    def size(self, key: str) -> int:
        """Length in bytes; NotFound where there is no such object."""

    def delete(self, key: str) -> None:
        """Remove the object; one that is not there is removed already."""


class Objects:
    """The object store of one process; safe for use by several threads."""

    def __init__(self, config: Config) -> None:
        """Open the folder or bucket that `config.objects_uri` names, by default `data/objects`."""
        uri = config.objects_uri
        if not uri or uri.startswith("file://"):
            folder = Path(uri.removeprefix("file://")) if uri else config.data / "objects"
            self._place: Place = Folder(folder)
            self._uploads = folder / "uploads"  # beside the objects: a rename must not cross file systems
        else:
            self._place = Bucket(uri)
            self._uploads = config.data / "uploads"
        self._uploads.mkdir(parents=True, exist_ok=True)
        # The disk syncs several files in the time of one, while the next ones are still arriving.
        self._syncing = ThreadPoolExecutor(SYNCS, thread_name_prefix="objects")

    def begin(self) -> Upload:
        """An empty upload; finish or abandon it, or use it in a `with` block, which abandons what is not finished."""
        try:
            return Upload(self._place, self._uploads / f"{uuid.uuid4().hex}{_UPLOAD}", self._syncing)
        except OSError as error:
            raise _untaken() from error

    def open(self, key: str) -> Iterator[bytes]:
        """The object's bytes in chunks. Raises NotFound before the first chunk where there is no such object."""
        return self._place.read(_checked(key), 0, None)

    def open_range(self, key: str, start: int, length: int) -> Iterator[bytes]:
        """At most `length` bytes from `start`, in chunks; fewer where the object ends first."""
        return self._place.read(_checked(key), start, length)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """`open_range`, joined: for headers and single frames."""
        return b"".join(self.open_range(key, start, length))

    def size(self, key: str) -> int:
        """The object's length in bytes. Raises NotFound."""
        return self._place.size(_checked(key))

    def delete(self, key: str) -> None:
        """Remove the object; deleting what is not there is not an error."""
        self._place.delete(_checked(key))

    def settle(self, keys: Sequence[str]) -> None:
        """Make the names of objects finished with `settle=False` durable, together."""
        self._place.settle([_checked(key) for key in keys])

    @contextlib.contextmanager
    def pending(self, keys: Sequence[str]) -> Iterator[None]:
        """Cover the moment between finishing objects and committing the rows that name them.

        An error inside the block deletes the objects. A crash inside it leaves a note, by which `sweep` finds them, and
        so does an error that may come after the commit: one of the database or the system, or an end of the process.
        Raises Unavailable where the note cannot be written.
        """
        note = self._uploads / f"{uuid.uuid4().hex}{_NOTE}"
        try:
            note.write_text("\n".join(_checked(key) for key in keys), encoding="ascii")
        except OSError as error:
            raise _untaken() from error
        try:
            yield
        except (PyMongoError, OSError, MemoryError):
            raise
        except Exception:
            if self._took_back(keys):
                note.unlink(missing_ok=True)
            raise
        note.unlink(missing_ok=True)

    @contextlib.contextmanager
    def condemned(self) -> Iterator[Callable[[Sequence[str]], None]]:
        """Delete objects once the rows that name them are gone.

        The block gets a function that takes their keys before it commits. A crash after that leaves a note, by which
        `sweep` finds those that no row names; so does a commit of which nobody knows. Where the block fails otherwise
        nothing is deleted. The function raises Unavailable where the note cannot be written.
        """
        note = self._uploads / f"{uuid.uuid4().hex}{_NOTE}"
        condemned: list[str] = []

        def sentence(keys: Sequence[str]) -> None:
            condemned[:] = keys
            try:
                note.write_text("\n".join(_checked(key) for key in keys), encoding="ascii")
            except OSError as error:
                raise _untaken() from error

        try:
            yield sentence
        except (PyMongoError, OSError, MemoryError):
            raise
        except Exception:
            note.unlink(missing_ok=True)
            raise
        if self._took_back(condemned):
            note.unlink(missing_ok=True)

    def _took_back(self, keys: Sequence[str]) -> bool:
        """Delete these objects; where the place does not answer the note stays, and `sweep` does it later."""
        try:
            for key in keys:
                self._place.delete(key)
        except (Unavailable, OSError):
            return False
        return True

    def sweep(self, kept: Callable[[Sequence[str]], Collection[str]]) -> int:
        """Remove what a crash left behind and say how many files that was; run before requests are taken.

        `kept` receives the keys of objects that were pending and returns those which a stored row names.
        """
        removed = 0
        for file in self._uploads.glob(f"*{_UPLOAD}"):
            file.unlink(missing_ok=True)
            removed += 1
        for note in self._uploads.glob(f"*{_NOTE}"):
            keys = [key for key in note.read_text(encoding="ascii").split("\n") if _KEY.fullmatch(key)]
            for key in set(keys).difference(kept(keys)):
                self._place.delete(key)
                removed += 1
            note.unlink(missing_ok=True)
        return removed


class Upload:
    """One object on its way in. `size` and `digest` are those of what was written so far."""

    HEAD: Final = 1 << 18
    """So much of the beginning stays at hand, enough for nearly every DICOM header."""

    def __init__(self, place: Place, file: Path, syncing: Executor) -> None:
        self._place = place
        self._file = file
        self._descriptor: int | None = os.open(file, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        self._digest = hashlib.sha256()
        self._map: mmap.mmap | None = None
        self._syncing = syncing
        self._synced: Future[None] | None = None
        self.head = bytearray()
        self.size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abandon()

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes written so far, in hexadecimal."""
        return self._digest.hexdigest()

    def write(self, chunk: bytes) -> None:
        """Append. Raises Unavailable where the disk does not take it, after abandoning the upload."""
        if self._descriptor is None:
            raise ValueError("the upload is over")
        room = self.HEAD - len(self.head)
        if room > 0:
            self.head += chunk[:room]
        self._digest.update(chunk)
        self.size += len(chunk)
        rest = memoryview(chunk)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            self.abandon()
            raise _untaken() from error

    def view(self) -> bytes | mmap.mmap:
        """Everything written so far, without holding it: for a header that is longer than `head`."""
        if self._descriptor is None:
            raise ValueError("the upload is over")
        if self.size <= len(self.head):
            return bytes(self.head)
        if self._map is None:
            self._map = mmap.mmap(self._descriptor, self.size, access=mmap.ACCESS_READ)
        return self._map

    def rest(self) -> None:
        """Give back memory and the open file, and begin to write to the disk, until `finish` or `abandon`."""
        self.head = bytearray()
        self._map = None  # closed when the last view of it goes
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            self._synced = self._syncing.submit(_sync, descriptor)

    def finish(self, key: str, *, settle: bool = True) -> None:
        """Make the content visible as `key`, durably; `settle=False` leaves the name to one later `Objects.settle`.

        Raises Unavailable where the store does not take it; nothing is visible then.
        """
        _checked(key)
        try:
            self.rest()
            if self._synced is not None:
                self._synced.result()
            self._place.keep(self._file, key)
            if settle:
                self._place.settle([key])
        except OSError as error:
            self.abandon()
            raise _untaken() from error

    def abandon(self) -> None:
        """Forget the content; after `finish` there is nothing to forget."""
        self._map = None
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        self._file.unlink(missing_ok=True)


class Folder:
    """Objects as files below one folder, in the shape of their keys."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._prefix = f"{root}/"
        root.mkdir(parents=True, exist_ok=True)

    def keep(self, file: Path, key: str) -> None:
        """Rename into place, which POSIX makes one step."""
        target = self._prefix + key
        try:
            file.rename(target)
        except FileNotFoundError:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            file.rename(target)

    def settle(self, keys: Sequence[str]) -> None:
        """Sync each folder once, and the folders above it, which may be new."""
        folders = {above for folder in {key.rpartition("/")[0] for key in keys} for above in _upwards(folder)}
        for folder in folders:
            descriptor = os.open(self._prefix + folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def read(self, key: str, start: int, length: int | None) -> Iterator[bytes]:
        """Opened here rather than at the first chunk, so that absence is an error and not an empty answer."""
        try:
            descriptor = os.open(self._prefix + key, os.O_RDONLY)  # a Path would cost more than the call
        except FileNotFoundError as error:
            raise NotFound("There is no such object.") from error
        size = os.fstat(descriptor).st_size
        end = size if length is None else min(size, start + length)
        return _chunks(descriptor, start, end)

    def size(self, key: str) -> int:
        """The file's length."""
        try:
            return (self._root / key).stat().st_size
        except FileNotFoundError as error:
            raise NotFound("There is no such object.") from error

    def delete(self, key: str) -> None:
        """Unlink; the emptied folder stays, another upload may be about to use it."""
        (self._root / key).unlink(missing_ok=True)


class Bucket:
    """Objects in an S3-compatible store, through obstore; credentials come from its environment variables."""

    def __init__(self, uri: str) -> None:
        import obstore
        import obstore.exceptions
        from obstore.store import from_url

        self._obstore = obstore
        self._store = from_url(uri)

    def keep(self, file: Path, key: str) -> None:
        """Upload in parts as the store likes them; S3 shows the object when the last part is acknowledged."""
        with self._answering():
            self._obstore.put(self._store, key, file)
        file.unlink(missing_ok=True)

    def settle(self, keys: Sequence[str]) -> None:
        """An acknowledged put is durable already."""

    def read(self, key: str, start: int, length: int | None) -> Iterator[bytes]:
        """One request, or one for each chunk of a long object."""
        size = self.size(key)
        end = size if length is None else min(size, start + length)
        return (self._part(key, at, min(at + CHUNK, end)) for at in range(start, end, CHUNK))

    def _part(self, key: str, start: int, end: int) -> bytes:
        with self._answering():
            return bytes(self._obstore.get_range(self._store, key, start=start, end=end))

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """Raises Unavailable where the store does not answer, or refuses; FileNotFoundError passes."""
        try:
            yield
        except self._obstore.exceptions.BaseError as error:
            raise Unavailable("The object store does not answer.") from error

    def size(self, key: str) -> int:
        """As the store's own catalogue says."""
        try:
            with self._answering():
                return int(self._obstore.head(self._store, key)["size"])
        except FileNotFoundError as error:
            raise NotFound("There is no such object.") from error

    def delete(self, key: str) -> None:
        """S3 does not complain of a missing key; other stores do, and mean the same."""
        with contextlib.suppress(FileNotFoundError), self._answering():
            self._obstore.delete(self._store, key)


def _untaken() -> Unavailable:
    return Unavailable("The object store does not take the content.")


def _upwards(folder: str) -> Iterator[str]:
    """The folder and all those above it, up to the root, whose name is empty."""
    while folder:
        yield folder
        folder = folder.rpartition("/")[0]
    yield ""


def _sync(descriptor: int) -> None:
    """Write a file's content to the disk, and close it whatever happens."""
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _checked(key: str) -> str:
    """Refuse a key that could leave the folder or meet a temporary file; keys are made by us, so this is a bug."""
    if not _KEY.fullmatch(key) or key.startswith("uploads/"):
        raise ValueError(f"not an object key: {key!r}")
    return key


class _chunks:  # noqa: N801 - reads as the function that it stands for: a generator would not close an unread file
    """The bytes of an open file from `at` to `end`; closes it when done, also when nobody reads it to the end."""

    def __init__(self, descriptor: int, at: int, end: int) -> None:
        self._descriptor, self._at, self._end = descriptor, at, end

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> bytes:
        chunk = os.pread(self._descriptor, min(CHUNK, self._end - self._at), self._at) if self._at < self._end else b""
        if not chunk:
            self.close()
            raise StopIteration
        self._at += len(chunk)
        return chunk

    def close(self) -> None:
        """Close the file, once."""
        descriptor, self._descriptor = self._descriptor, -1
        self._at = self._end
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()
