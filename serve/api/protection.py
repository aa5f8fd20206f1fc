"""Access: API keys, the admin token, and rate limits."""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from serve.api.addresses import client_of, forwarded_from
from serve.api.problems import ProblemError
from serve.settings import Settings

logger = logging.getLogger("serve")

Connection = ASGIConnection[Any, Any, Any, Any]
TRACKED = 10_000  # callers whose budget is remembered
COOKIE = "veritable_session"
SIGNED_IN_FOR = 12 * 3600  # seconds
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


NO_STORE = (b"cache-control", b"no-store")  # of all that may show a person's row


def security_headers(policy: bytes) -> list[tuple[bytes, bytes]]:
    """What every response carries, with this content security policy."""
    return [
        (b"x-content-type-options", b"nosniff"),
        (b"x-frame-options", b"DENY"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-opener-policy", b"same-origin"),
        (b"content-security-policy", policy),
    ]


class RateLimiter:
    """A token bucket per caller: `per_minute` of something a minute, as many at once after a minute of silence."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic, *, of: str = "requests") -> None:
        self.per_minute = per_minute
        self.of = of
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def check(self, caller: str) -> None:
        """Take one from the caller's budget; ProblemError 429 with Retry-After when it is used up."""
        self.require(caller)
        self.charge(caller)

    def require(self, caller: str) -> None:
        """ProblemError 429 with Retry-After when the caller's budget is used up."""
        if self.per_minute and (tokens := self._tokens(caller)) < 1:
            wait = math.ceil((1 - tokens) * 60 / self.per_minute)
            raise ProblemError(
                429,
                f"More than {self.per_minute} {self.of} a minute; try again in {wait} s.",
                headers={"Retry-After": str(wait)},
            )

    def charge(self, caller: str) -> None:
        """Take one from the caller's budget."""
        if not self.per_minute:
            return
        tokens = self._tokens(caller)
        self._buckets.pop(caller, None)
        self._buckets[caller] = (tokens - 1, self._clock())
        if len(self._buckets) > TRACKED:
            del self._buckets[next(iter(self._buckets))]  # the caller seen longest ago

    def _tokens(self, caller: str) -> float:
        now = self._clock()
        tokens, since = self._buckets.get(caller, (float(self.per_minute), now))
        return min(self.per_minute, tokens + (now - since) * self.per_minute / 60)


def digest(secret: str) -> str:
    """Hex SHA-256: keys are long and random, so that no slow hash is needed to keep them."""
    return hashlib.sha256(secret.encode()).hexdigest()


def key_of(connection: Connection, settings: Settings) -> str | None:
    """The hash of the key that a request comes with, in its header or by the session of its cookie; None without a valid
    one. The cookie counts for a request that changes something only where a page of this server sent it. Looking a hash up
    takes a time that tells nothing of the key.
    """
    key = connection.headers.get("x-api-key")
    if key is not None:
        found = digest(key)
    elif connection.scope.get("method") in SAFE or same_origin(connection):
        found = connection.app.state.sessions.key(connection.cookies.get(COOKIE, ""))
    else:
        return None
    return found if found in settings.key_names else None


def same_origin(connection: Connection) -> bool:
    """Whether a browser sent the request from a page of this server, by Fetch Metadata, or by Origin where there is none."""
    site = connection.headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    return urlsplit(connection.headers.get("origin", "")).netloc == connection.headers.get("host")


def over_https(connection: Connection) -> bool:
    """Whether the browser uses https, also where a proxy terminates it. The header can be forged, to no one else's harm."""
    return "https" in (connection.url.scheme, connection.headers.get("x-forwarded-proto", "").partition(",")[0].strip())


def address_of(connection: Connection, settings: Settings) -> str:
    """The client's address as it is counted, behind trusted proxies the one they were called from."""
    address = connection.client.host if connection.client else ""
    if settings.proxy_networks:
        values = ",".join(connection.headers.getall("x-forwarded-for", []))
        hops = [hop.strip() for hop in values.split(",") if hop.strip()]
        address = forwarded_from(address, hops, settings.proxy_networks)
    return client_of(address)


def caller(connection: Connection, settings: Settings) -> str:
    """What budgets are kept by: a valid API key, or the address."""
    if settings.api_keys and (key := key_of(connection, settings)):
        return f"key {key}"
    return f"address {address_of(connection, settings)}"


def limit_guesses(connection: Connection, settings: Settings) -> None:
    """Count a wrong key in the header `X-API-Key`; ProblemError 429, as of `Guesser`, for any key there after too many."""
    if given := connection.headers.get("x-api-key"):
        guesser = Guesser(connection)
        if digest(given) not in settings.key_names:
            guesser.failed(given, f"wrong key at {connection.scope['path']}")


def require_key(connection: Connection, settings: Settings) -> None:
    """ProblemError 401 without a valid `X-API-Key` or sign-in, once keys are configured. No guard: those cost a copy of the
    request.
    """
    if settings.api_keys and key_of(connection, settings) is None:
        raise ProblemError(
            401, "A valid key is needed in the header X-API-Key.", headers={"WWW-Authenticate": 'ApiKey realm="veritable"'}
        )


async def require_admin(connection: Connection, handler: BaseRouteHandler) -> None:
    """Guard, async as Litestar runs others in a thread: ProblemError 403 while there is no admin token, 401 without it."""
    state = connection.app.state
    token = state.settings.admin_token
    if token is None:
        raise ProblemError(403, "This route is off: the server has no SERVE_ADMIN_TOKEN.")
    guesser = Guesser(connection)
    scheme, _, given = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(digest(given), digest(token.get_secret_value())):
        if given:
            guesser.failed(given, f"wrong admin token at {connection.scope['path']}")
        raise ProblemError(
            401,
            "The admin token is needed in the header `Authorization: Bearer ...`.",
            headers={"WWW-Authenticate": 'Bearer realm="veritable"'},
        )


class Guesses:
    """The wrong secrets of each address, `per_minute` of which it has. The same one counts once a minute: a client that was
    left with an old key tries nothing out, and would use up the budget of all that share its address.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._limiter = RateLimiter(per_minute, clock, of="wrong keys or tokens")
        self._clock = clock
        self._seen: dict[tuple[str, str], float] = {}  # by address and hash of the secret, oldest first: when it counted

    def require(self, address: str) -> None:
        """ProblemError 429 with Retry-After for an address that has used up its own."""
        self._limiter.require(address)

    def count(self, address: str, secret: str) -> bool:
        """Whether a wrong secret counts, which is then taken from the budget of the address."""
        guess, now = (address, digest(secret)), self._clock()
        if now < self._seen.get(guess, -math.inf) + 60:
            return False
        self._seen.pop(guess, None)
        self._seen[guess] = now
        if len(self._seen) > TRACKED:
            del self._seen[next(iter(self._seen))]
        self._limiter.charge(address)
        return True


class Guesser:
    """Who tries a secret: each address has `SERVE_MAX_GUESSES` wrong ones a minute. ProblemError 429 when they are used up,
    also for the right one: a limit that this one passed would be none.
    """

    def __init__(self, connection: Connection) -> None:
        self.guesses: Guesses = connection.app.state.guesses
        self.address = address_of(connection, connection.app.state.settings)
        self.guesses.require(self.address)

    def failed(self, secret: str, what: str) -> None:
        """Count and log a wrong secret."""
        if self.guesses.count(self.address, secret):
            logger.warning("%s, from %s", what, self.address)


@contextmanager
def audited(connection: Connection, action: str) -> Iterator[None]:
    """Logs what is done with the admin token, by which key and from where, and whether it was done."""
    settings = connection.app.state.settings
    name = settings.key_names.get(key_of(connection, settings) or "", "none")
    who = f"with the admin token and key {name} from {address_of(connection, settings)}"
    try:
        yield
    except Exception as error:
        logger.warning("audit: %s failed, %s: %s", action, who, error)
        raise
    logger.info("audit: %s done, %s", action, who)
