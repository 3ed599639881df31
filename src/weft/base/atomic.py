"""Files that are replaced whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from os import PathLike
from typing import IO, Any

from .errors import ArgumentError, FileError, MissingFileError

Path = str | PathLike[str]

_MENDS = {
    errno.ENOSPC: "the disk is full; free some space and save again",
    errno.EDQUOT: "your disk quota is used up; free some space and save again",
    errno.EFBIG: "the file would be larger than the system allows",
    errno.EACCES: "you have no permission there; choose another folder or change its permissions",
    errno.EPERM: "you have no permission there; choose another folder or change its permissions",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.ENOENT: "there is no such file or folder",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EISDIR: "that is a folder, a file is needed",
}


def path_text(path: Any) -> str:
    """A path as text; `ArgumentError` for what is none (a number would be taken for an open file)."""
    name = os.fspath(path) if isinstance(path, (str, PathLike)) else None
    if not isinstance(name, str) or not name or "\0" in name:
        raise ArgumentError(f"a file's path must be a text or a pathlib.Path, got {path!r}")
    return name


def file_error(what: str, path: Path, error: OSError) -> FileError:
    """`error` as an error of Weft's that names the file and the mend; `errno` and `filename` are kept."""
    mend = _MENDS.get(error.errno or 0, error.strerror or str(error))
    kind = MissingFileError if error.errno == errno.ENOENT else FileError
    return kind(error.errno or 0, f"cannot {what}: {mend}", os.fspath(path))


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file to write to, which takes the place of `path` when the block ends without an error.

    Readers see the old file or the new one, never a part. On any error (a full disk, an exception in the block, an
    interrupt) the old file stays as it was and nothing else is left behind. A symbolic link is followed, permissions
    of an existing file are kept. Errors of the system are raised as `FileError`.
    """
    name = path_text(path)
    target = os.path.realpath(name)
    folder, base = os.path.split(target)
    temporary = None
    try:
        if os.path.isdir(target) or name.endswith((os.sep, "/")):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
        if os.path.exists(target) and not os.path.isfile(target):
            raise FileError(errno.EINVAL, "cannot write: that is a device or a pipe, a file is needed", name)
        temporary, handle = _create_beside(folder, base)
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if os.path.exists(target):
            os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
        os.replace(temporary, target)
        temporary = None
    except OSError as e:
        if isinstance(e, FileError):
            raise
        raise file_error("write", name, e) from None
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
    _sync_folder(folder)


def _create_beside(folder: str, base: str) -> tuple[str, int]:
    """A new file in `folder`, with the permissions that new files get, open for writing."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        name = os.path.join(folder, f".{base[:64]}.{os.urandom(6).hex()}.part")
        with contextlib.suppress(FileExistsError):
            return name, os.open(name, flags, 0o666)


def _sync_folder(folder: str) -> None:
    """Make the new name survive a power failure, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
