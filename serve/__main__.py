"""Starts the server: python -m serve [OPTIONS of uvicorn, as --host 0.0.0.0 --port 8000 --root-path /veritable]"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from argparse import ArgumentParser

from uvicorn.main import main as uvicorn

from serve.log.migrations import SchemaError
from serve.log.spill import Spill
from serve.log.store import check_schema
from serve.settings import WrongSettingsError, read_settings

SWITCH_SECONDS = 0.001  # that a thread keeps the interpreter for: a single row waits for that of a batch several times
STOP_SECONDS = 20  # that a shutdown waits for the requests at work
OPTIONS = [
    "--factory", "serve.app:create_app",
    "--http", "serve.api.protocol:LimitedProtocol", "--ws", "none",
    "--no-proxy-headers",  # serve/api/protection.py reads them, from SERVE_TRUSTED_PROXIES alone
    "--root-path", "",  # serve/api/prefix.py takes it off, from SERVE_ROOT_PATH
    "--no-access-log", "--timeout-graceful-shutdown", str(STOP_SECONDS),
]  # fmt: skip


def check() -> None:
    """SystemExit with a sentence where the server could not start: uvicorn would show a traceback."""
    try:
        settings = read_settings()
    except WrongSettingsError as error:
        sys.exit(f"The server does not start.\n{error}")
    if settings.internal:
        host, port = settings.internal
        try:
            socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
        except OSError as error:
            sys.exit(
                f"The server does not start.\nSERVE_INTERNAL_ADDRESS: nothing can listen at {settings.internal_address} "
                f"({error.strerror}); name a free port of an address of this machine."
            )
    if settings.log:
        spill = Spill(settings.spill_path)
        try:
            spill.open()
        except OSError as error:
            sys.exit(
                f"The server does not start.\nSERVE_SPILL_PATH: no file can be written in the folder {settings.spill_path} "
                f"({error.strerror}); name one that the server may write to."
            )
        spill.close()
        try:
            asyncio.run(check_schema(settings.database_url))
        except (SchemaError, ValueError) as error:
            sys.exit(f"The server does not start.\nSERVE_DATABASE_URL: {error}.")


def take_root_path(options: list[str]) -> list[str]:
    """The options without `--root-path`, which sets SERVE_ROOT_PATH."""
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--root-path", default=os.environ.get("SERVE_ROOT_PATH", ""))
    found, others = parser.parse_known_args(options)
    os.environ["SERVE_ROOT_PATH"] = found.root_path
    return others


if __name__ == "__main__":
    options = take_root_path(sys.argv[1:])
    if not {"--help", "--version"} & {*options}:
        check()
    sys.setswitchinterval(SWITCH_SECONDS)
    uvicorn([*OPTIONS, *options])
