"""Getting published files: checked while they arrive, there as a whole or not at all."""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
from collections.abc import Sequence
from typing import Any

from ..base.atomic import file_error, replacing
from ..base.errors import DataError

_CHUNK = 1 << 20
_PATIENCE = 30.0


def digest_of(content: bytes | str, kind: str) -> str:
    """The digest of bytes, or of the file of a name. `kind` is "md5" or "sha256"."""
    digest = hashlib.new(kind, usedforsecurity=False)
    if isinstance(content, bytes):
        digest.update(content)
        return digest.hexdigest()
    try:
        with open(content, "rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as e:
        raise file_error("read", content, e) from None
    return digest.hexdigest()


def download(addresses: Sequence[str], path: str, digest: str) -> None:
    """Get a file from the first of its addresses that has it.

    Args:
        digest: its digest as "md5:..." or "sha256:...". Anything else that arrives is a `DataError`.

    Whatever goes wrong, `path` is then what it was before.
    """
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError as e:
        raise file_error("make the folder", folder, e) from None
    problems = []
    for address in addresses:
        try:
            _get(address, path, digest)
            return
        except _Unreachable as e:
            problems.append(f"{address}: {e}")
    raise DataError(
        f"{os.path.basename(path)} cannot be downloaded ({'; '.join(problems)}). Where there is a network, get it and "
        f"put it into {folder}"
    )


class _Unreachable(Exception):
    pass


def _get(address: str, path: str, digest: str) -> None:
    from urllib.request import Request, urlopen

    kind, _, expected = digest.partition(":")
    sum_ = hashlib.new(kind, usedforsecurity=False)
    try:
        response = urlopen(Request(address, headers={"User-Agent": "weft"}), timeout=_PATIENCE)
    except (OSError, ValueError, http.client.HTTPException) as e:
        raise _Unreachable(getattr(e, "reason", None) or e) from None
    size = response.headers.get("Content-Length", "")
    announced = int(size) if size.isdigit() else None
    with response, replacing(path) as file, _Bar(os.path.basename(path), announced) as bar:
        got = 0
        while chunk := _chunk(response):
            sum_.update(chunk)
            file.write(chunk)
            got += len(chunk)
            bar.update(len(chunk))
        if announced is not None and got < announced:
            raise _Unreachable(f"the connection ended after {got} of {announced} bytes")
        if sum_.hexdigest() != expected:
            raise DataError(
                f"what came from {address} is not the published file: its {kind} digest should be {expected} and is "
                f"{sum_.hexdigest()} ({got} bytes); nothing was kept"
            )


def _chunk(response: Any) -> bytes:
    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException) as e:
        raise _Unreachable(f"the connection broke: {e}") from None


class _Bar:
    """A progress bar, where somebody looks."""

    def __init__(self, title: str, total: int | None) -> None:
        self._bar: Any = None
        if sys.stderr is not None and sys.stderr.isatty():
            from tqdm import tqdm

            self._bar = tqdm(total=total, desc=title, unit="B", unit_scale=True, leave=False)

    def update(self, count: int) -> None:
        if self._bar is not None:
            self._bar.update(count)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bar is not None:
            self._bar.close()
