"""The kernel cache: object code on disk, so that a second process starts without compiling.

A folder of the user's own, an entry for each kernel. What is wrong with the folder (others could write into it, it is
read-only, the disk is full) costs the time to compile, never the program; what is wrong with an entry is found by its
checksum, and the entry is made anew. Processes may use it at the same time: entries appear whole and are never changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
import time
import warnings
from functools import cache
from pathlib import Path

from ...base.errors import ArgumentError

_MAGIC = b"weft kernel 1\n"
_SUFFIX = ".kernel"
_HEAD = len(_MAGIC) + 32
#: Unfinished files of processes that were killed are removed when they are this old.
_STALE_SECONDS = 3600
#: One key in so many has its writer look at the size of the whole folder, which takes a while: together, processes that
#: write little look as seldom as one that writes much.
_LOOK_EVERY = 256
#: And so does this part of the limit, written by one process.
_PART = 16


class KernelCache:
    """Entries in `folder`, at most `limit` bytes of them; a folder of None keeps nothing."""

    def __init__(self, folder: Path | None, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._usable: bool | None = None if folder is not None else False
        self._written = 0  # bytes, since the last look at the folder

    # -- entries

    def get(self, key: str) -> bytes | None:
        """What is kept under `key`; None if there is nothing, or nothing whole."""
        if not self._ready(create=False):
            return None
        path = self._path(key)
        try:
            handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
        except OSError:
            return None
        try:
            with os.fdopen(handle, "rb") as file:
                entry = file.read() if _is_own(os.fstat(file.fileno())) else b""
            code = entry[_HEAD:]
            if entry[:_HEAD] == _MAGIC + _checksum(key, code):
                with contextlib.suppress(OSError):
                    os.utime(path)  # used now: the others go first
                return code
        except OSError:
            return None
        with contextlib.suppress(OSError):
            os.unlink(path)
        return None

    def has(self, key: str) -> bool:
        """Whether there is an entry, whole or not."""
        return self._ready(create=False) and os.path.exists(self._path(key))

    def put(self, key: str, code: bytes) -> None:
        """Keep `code` under `key`, if that can be done."""
        if not self._ready(create=True):
            return
        path = self._path(key)
        temporary = f"{path}.{os.getpid()}.{os.urandom(6).hex()}.part"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
                file.write(_MAGIC + _checksum(key, code) + code)
            os.replace(temporary, path)
        except OSError:
            self._usable = False  # a full disk or a read-only folder: do not try again and again
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            return
        self._written += _HEAD + len(code)
        if self._written > self.limit // _PART or _is_drawn(key):
            self._shrink()

    def _path(self, key: str) -> str:
        return os.path.join(str(self.folder), key + _SUFFIX)

    # -- the folder

    def _ready(self, create: bool) -> bool:
        """Whether the folder may be used; it is made if there is none and `create`."""
        if self._usable is None:
            self._usable = self._check(create)
        return self._usable is True

    def _check(self, create: bool) -> bool | None:
        """None if there is no folder yet."""
        assert self.folder is not None
        try:
            if create:
                self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            why = _fault(os.stat(self.folder))
        except FileNotFoundError:
            return None
        except OSError as e:
            why = e.strerror or str(e)
        return why is None or _refuse(self.folder, why)

    def refusal(self) -> str | None:
        """Why the folder is not used, though it is there."""
        try:
            return None if self.folder is None else _fault(os.stat(self.folder))
        except FileNotFoundError:
            return None
        except OSError as e:
            return e.strerror or str(e)

    def entries(self) -> list[tuple[float, int, str]]:
        """(time of last use, bytes, path) of every entry, the least recently used first."""
        found = []
        with contextlib.suppress(OSError), os.scandir(str(self.folder)) as items:
            for item in items:
                if item.name.endswith(_SUFFIX):
                    with contextlib.suppress(OSError):
                        s = item.stat(follow_symlinks=False)
                        found.append((s.st_mtime, s.st_size, item.path))
        return sorted(found)

    def clear(self) -> int:
        """Remove all entries; how many there were."""
        entries = self.entries()
        for _, _, path in entries:
            with contextlib.suppress(OSError):
                os.unlink(path)
        self._remove_stale(0.0)
        return len(entries)

    def _shrink(self) -> None:
        """Make room if the folder is too large; others write there, too."""
        self._written = 0
        self._remove_stale(_STALE_SECONDS)
        entries = self.entries()
        total = sum(size for _, size, _ in entries)
        if total <= self.limit:
            return
        for _, size, path in entries:
            if total <= self.limit * 3 // 4:
                break
            with contextlib.suppress(OSError):
                os.unlink(path)
            total -= size

    def _remove_stale(self, age: float) -> None:
        """Remove what writers that were killed have left."""
        with contextlib.suppress(OSError), os.scandir(str(self.folder)) as items:
            for item in items:
                if item.name.endswith(".part"):
                    with contextlib.suppress(OSError):
                        if item.stat(follow_symlinks=False).st_mtime <= time.time() - age:
                            os.unlink(item.path)


def _checksum(key: str, code: bytes) -> bytes:
    return hashlib.sha256(key.encode() + b"\n" + code).digest()


def _is_drawn(key: str) -> bool:
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % _LOOK_EVERY == 0


def _is_own(found: os.stat_result) -> bool:
    return not hasattr(os, "geteuid") or found.st_uid == os.geteuid()


def _fault(found: os.stat_result) -> str | None:
    """What is wrong with a folder."""
    if not stat.S_ISDIR(found.st_mode):
        return "it is not a folder"
    if hasattr(os, "geteuid"):
        if found.st_uid != os.geteuid():
            return "it belongs to another user, who could put code there"
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return "other users may write there, and could put code there"
    return None


def _refuse(folder: Path, why: str) -> bool:
    warnings.warn(
        f"the kernel cache {folder} is not used: {why}. Compiled kernels are not kept; set WEFT_CACHE_DIR to a folder "
        "of your own with mode 0700, or WEFT_CACHE=0 to do without",
        RuntimeWarning,
        stacklevel=2,
    )
    return False


# -- the one of this process ----------------------------------------------------------------------------------


def cache_folder() -> Path | None:
    """Where kernels are kept: WEFT_CACHE_DIR, or the user's folder for caches; None if WEFT_CACHE is 0."""
    if os.environ.get("WEFT_CACHE", "1") == "0":
        return None
    given = os.environ.get("WEFT_CACHE_DIR")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    if not base or not os.path.isabs(base):
        home = os.path.expanduser("~")
        if not os.path.isabs(home):
            return None
        windows = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else None
        inside = "Library/Caches" if sys.platform == "darwin" else ".cache"
        base = windows or os.path.join(home, inside)
    return Path(base) / "weft" / "kernels"


def cache_limit() -> int:
    """How many bytes are kept at most: WEFT_CACHE_SIZE, in megabytes, or 512 MB."""
    text = os.environ.get("WEFT_CACHE_SIZE", "").strip() or "512"
    try:
        size = float(text)
        if not 0 <= size < 1e9:
            raise ValueError
    except ValueError:
        raise ArgumentError(f"WEFT_CACHE_SIZE must be a number of megabytes, got {text!r}") from None
    return int(size * 1e6)


@cache
def disk_cache() -> KernelCache:
    """The cache that this process uses."""
    return KernelCache(cache_folder(), cache_limit())
