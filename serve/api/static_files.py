"""Files that a browser stores for good: a hash of all of them is a folder in their address, so that scripts can import each
other by relative addresses.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from litestar import Request, Response

from serve.api.compression import Compressed
from serve.api.problems import ProblemError

TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FOR_GOOD = "public, max-age=31536000, immutable"


class StaticFiles:
    """Files by name, with the version of all of them together, and of others that are sent beside them."""

    def __init__(self, contents: Mapping[str, bytes], others: str = "") -> None:
        self.files = {
            name: Compressed(TYPES[PurePath(name).suffix], gzip.compress(content, mtime=0))
            for name, content in contents.items()
        }
        hashes = sorted((name, hashlib.sha256(content).hexdigest()) for name, content in contents.items())
        self.version = hashlib.sha256(repr((hashes, others)).encode()).hexdigest()[:16]

    def response(self, request: Request[Any, Any, Any], version: str, name: str) -> Response[bytes]:
        """A file as of a version; ProblemError 404 for a name that there is not."""
        if name not in self.files:
            raise ProblemError(404, f"There is no file {name!r}.")
        return self.send(self.files[name], request, version)

    def send(self, file: Compressed, request: Request[Any, Any, Any], version: str) -> Response[bytes]:
        """A file, to be stored under the address of the current version alone: a page that was opened before the server was
        updated may ask for that of another.
        """
        return file.response(request, **{"Cache-Control": FOR_GOOD if version == self.version else "no-store"})
