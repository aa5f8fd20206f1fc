"""A stop that is announced: a load balancer learns from /ready that it should send no more, before the port closes."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from serve.service import Service

logger = logging.getLogger("serve")


@contextmanager
def announced_stop(service: Service) -> Iterator[None]:
    """Within the block, SIGTERM sets `service.stopping`, and the handler from before is called `SERVE_UNREADY_SECONDS`
    later; a second one calls it at once. This does nothing without such a handler, and outside the main thread, to which
    signals belong.
    """
    handler, seconds = signal.getsignal(signal.SIGTERM), service.settings.unready_seconds
    if not callable(handler) or not seconds or threading.current_thread() is not threading.main_thread():
        yield
        return
    loop, stop = asyncio.get_running_loop(), handler

    def announce(number: int, frame: FrameType | None) -> None:
        if service.stopping:
            stop(number, frame)
        else:
            loop.call_soon_threadsafe(withdraw, number)

    def withdraw(number: int) -> None:
        service.stopping = True
        logger.info("stopping: /ready answers 503, and requests are taken for another %g s", seconds)
        loop.call_later(seconds, stop, number, None)

    signal.signal(signal.SIGTERM, announce)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
