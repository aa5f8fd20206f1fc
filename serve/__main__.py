"""Starts the server: python -m serve [OPTIONS of uvicorn, as --host 0.0.0.0 --port 8000]"""

from __future__ import annotations

import sys

from uvicorn.main import main as uvicorn

from serve.log.spill import Spill
from serve.settings import WrongSettingsError, read_settings

SWITCH_SECONDS = 0.001  # that a thread keeps the interpreter for: a single row waits for that of a batch several times
STOP_SECONDS = 20  # that a shutdown waits for the requests at work
OPTIONS = [
    "--factory", "serve.app:create_app",
    "--http", "serve.api.protocol:LimitedProtocol", "--ws", "none",
    "--no-proxy-headers",  # serve/api/protection.py reads them, from SERVE_TRUSTED_PROXIES alone
    "--no-access-log", "--timeout-graceful-shutdown", str(STOP_SECONDS),
]  # fmt: skip


def check() -> None:
    """SystemExit with a sentence where the server could not start: uvicorn would show a traceback."""
    try:
        settings = read_settings()
    except WrongSettingsError as error:
        sys.exit(f"The server does not start.\n{error}")
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


if __name__ == "__main__":
    if not {"--help", "--version"} & {*sys.argv}:
        check()
    sys.setswitchinterval(SWITCH_SECONDS)
    uvicorn([*OPTIONS, *sys.argv[1:]])
