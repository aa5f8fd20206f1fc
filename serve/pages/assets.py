"""Style sheet, scripts and icon, kept in memory, and the JavaScript of Vega-Lite.

python -m serve.pages.assets

makes the latter as a file beside this one, as `make serve` does and the build of the image, which then needs none of the
84 MB that make it. A server without the file makes its own soon after the start.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from litestar import Request, Response, get
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath

from serve.api.compression import Compressed
from serve.api.problems import ProblemError
from serve.api.protection import security_headers
from serve.api.static_files import TYPES, StaticFiles

CACHEABLE = security_headers(
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
    b"form-action 'self'; frame-ancestors 'none'"
)
STATIC = Path(__file__).with_name("static")
BUNDLE = "vega.js"
MADE = Path(__file__).with_name(f"{BUNDLE}.gz")  # where it was made before
DELAY = 2.0  # seconds after the start, which are for those who waited for it
# In a process of its own with a low priority: it takes 4 s and 150 MB, which the server would never give back.
EMIT = """
import gzip, os, sys
getattr(os, "nice", int)(10)
import vl_convert
sys.stdout.buffer.write(gzip.compress(vl_convert.javascript_bundle().encode(), mtime=0))
"""
logger = logging.getLogger("serve")


class Bundle:
    """The JavaScript of Vega, Vega-Lite and Vega-Embed as `vl_convert` emits it."""

    def __init__(self) -> None:
        self._making: asyncio.Task[Compressed] | None = None

    @asynccontextmanager
    async def made_early(self) -> AsyncIterator[None]:
        """While the server runs: makes the bundle before anybody asks for it, and ends what is unfinished at the stop."""
        early = asyncio.create_task(self._make_early())
        try:
            yield
        finally:
            tasks = [task for task in (early, self._making) if task]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def get(self) -> Compressed:
        """The bundle, once it is made; ProblemError 503 where it cannot be, and the next request tries again."""
        if self._making is None or (self._making.done() and self._making.exception()):
            self._making = asyncio.create_task(self._make())
        return await asyncio.shield(self._making)

    async def _make_early(self) -> None:
        if not MADE.exists():
            await asyncio.sleep(DELAY)
        with suppress(ProblemError):  # is logged
            await self.get()

    async def _make(self) -> Compressed:
        if MADE.exists():
            return Compressed("text/javascript", MADE.read_bytes())
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", EMIT, stdout=pipe, stderr=pipe,
            start_new_session=True,  # Ctrl-C in a terminal is for the server alone
        )  # fmt: skip
        try:
            zipped, complaint = await process.communicate()
        finally:
            with suppress(ProcessLookupError):  # it has ended
                process.kill()
            await process.wait()
        if process.returncode:
            logger.error("no charts: vl_convert failed: %s", complaint.decode(errors="replace")[-500:])
            raise ProblemError(503, "The JavaScript of the charts cannot be built; the server's log has the reason.")
        return Compressed("text/javascript", zipped)


def bundle_version() -> str:
    """What the bundle follows from."""
    return hashlib.sha256(MADE.read_bytes()).hexdigest() if MADE.exists() else EMIT + version("vl-convert-python")


class Assets:
    """All of them, with their address below the prefix `root`."""

    def __init__(self, root: str) -> None:
        contents = {path.name: path.read_bytes() for path in STATIC.iterdir() if path.suffix in TYPES}
        self.static = StaticFiles(contents, bundle_version())
        self.bundle = Bundle()
        self.address = f"{root}/static/{self.static.version}"

    def routes(self) -> list[BaseRouteHandler]:
        """`/static/...`: open, as it reveals nothing."""

        @get("/static/{release:str}/{name:str}", include_in_schema=False, opt={"headers": CACHEABLE})
        async def static(request: Request[Any, Any, Any], release: FromPath[str], name: FromPath[str]) -> Response[bytes]:
            if name == BUNDLE:
                return self.static.send(await self.bundle.get(), request, release)
            return self.static.response(request, release, name)

        return [static]


if __name__ == "__main__":
    made = subprocess.run([sys.executable, "-c", EMIT], check=True, stdout=subprocess.PIPE).stdout
    MADE.with_suffix(".new").write_bytes(made)
    MADE.with_suffix(".new").rename(MADE)
