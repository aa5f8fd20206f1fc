"""Settings of the server, each from the environment variable `SERVE_<NAME>`."""

from __future__ import annotations

import hashlib
import re
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from stages.projects._base import project_names

SHORTEST_TOKEN = 16  # characters
API_KEY = re.compile(r"(?:([\w.@-]{1,64}):)?([0-9a-f]{64})", re.ASCII | re.IGNORECASE)
ADDRESS = re.compile(r"([\w.-]+|\[[0-9a-f:.]+\]):(\d{1,5})", re.ASCII | re.IGNORECASE)
NO_KEY = hashlib.sha256().hexdigest()  # what a shell makes of a key that is not set

# First parts of the server's addresses, besides the projects.
OWN_PATHS = frozenset({"v1", "docs", "openapi.json", "static", "sign-in", "sign-out", "health", "ready", "metrics"})


class WrongSettingsError(Exception):
    """The environment holds settings that no server can start with: the message is a line for each."""


class Settings(BaseSettings):
    """Every setting has a working default. Lists are written as JSON: `SERVE_PROJECTS='["boston"]'`."""

    model_config = SettingsConfigDict(env_prefix="SERVE_", frozen=True, hide_input_in_errors=True)

    root: Annotated[Path, Field(description="the checkout, or a folder that `stages.deploy --to` wrote")] = Path()
    projects: Annotated[list[str], Field(description="projects to serve; empty: all")] = []
    root_path: Annotated[
        str, Field(description="prefix of all addresses, as `/veritable`, whether or not a proxy takes it off")
    ] = ""
    internal_address: Annotated[
        str,
        Field(
            description="`host:port` that answers `/health`, `/ready` and `/metrics`; the public port then has no metrics"
        ),
    ] = ""
    log: Annotated[bool, Field(description="whether predictions are logged")] = True
    database_url: Annotated[
        str, Field(description="the prediction log: sqlite+aiosqlite:///file or postgresql+asyncpg://...")
    ] = "sqlite+aiosqlite:///serve.db"
    spill_path: Annotated[Path, Field(description="folder that predictions are written to while the database is down")] = (
        Path("serve.spill")
    )
    max_spill: Annotated[
        int,
        Field(ge=1_000, description="bytes that may wait in that folder; then predictions get 503 until they are logged"),
    ] = 1_000_000_000
    retention_days: Annotated[int, Field(ge=0, description="days after which logged predictions are deleted; 0: never")] = 0
    drift_rows: Annotated[int, Field(ge=200, description="number of latest predictions compared with the training rows")] = (
        1_000
    )
    max_queue: Annotated[int, Field(ge=1, description="rows that may wait to be logged; further requests get 503")] = 10_000
    max_batch: Annotated[int, Field(ge=1, description="maximum number of rows in a batch request")] = 1_000
    max_body: Annotated[int, Field(ge=1_000, description="maximum size of a request body in bytes")] = 5_000_000
    max_file: Annotated[int, Field(ge=1_000, description="maximum size in bytes of an uploaded file, decompressed")] = (
        50_000_000
    )
    max_form: Annotated[int, Field(ge=1_000, description="maximum size of the sign-in form in bytes")] = 64_000
    max_headers: Annotated[int, Field(ge=1_000, description="maximum size of a request's address and headers in bytes")] = (
        32_000
    )
    header_seconds: Annotated[float, Field(gt=0, description="seconds in which the headers of a request must arrive")] = 10.0
    body_seconds: Annotated[
        float,
        Field(gt=0, description="seconds in which a body must arrive, and one more for every 10 kB of it"),
    ] = 30.0
    max_connections: Annotated[
        int, Field(ge=1, description="connections of one address (IPv6: of a /64 network) that is no trusted proxy")
    ] = 100
    max_requests: Annotated[
        int, Field(ge=1, description="requests that have arrived and are handled at once; further ones get 503")
    ] = 1_000
    max_key_requests: Annotated[
        int, Field(ge=1, description="of these, those of one key, or of one address without a valid key")
    ] = 250
    rate_limit: Annotated[int, Field(ge=0, description="requests per minute and key or address; 0: no limit")] = 0
    max_guesses: Annotated[
        int, Field(ge=1, description="wrong keys and admin tokens per minute and address; then right ones get 429 too")
    ] = 10
    trusted_proxies: Annotated[
        list[str], Field(description="addresses or CIDR ranges of proxies whose X-Forwarded-For header is trusted")
    ] = []
    api_keys: Annotated[
        list[str], Field(description="accepted API keys, each as `sha256` or `name:sha256`; empty: no key is required")
    ] = []
    admin_token: Annotated[
        SecretStr | None,
        Field(description="token of 16 characters or more for reload and deletion; without it these routes are disabled"),
    ] = None
    cors_origins: Annotated[list[str], Field(description="origins whose web pages may call the server (CORS)")] = []
    revision: Annotated[str, Field(description="Git revision of the models, for a server outside a Git checkout")] = ""
    unready_seconds: Annotated[
        float, Field(ge=0, description="seconds that a stop by SIGTERM still takes requests while `/ready` answers 503")
    ] = 2.0
    drain_seconds: Annotated[float, Field(gt=0, description="seconds that a shutdown waits for the log to be written")] = (
        10.0
    )

    @field_validator("root_path")
    @classmethod
    def _is_a_prefix(cls, given: str) -> str:
        if not re.fullmatch(r"(/[\w~-][\w.~-]*)*", given, re.ASCII):
            raise ValueError(
                "a prefix begins with / and does not end with it, and its parts hold letters, digits and -._~ alone"
            )
        first = given[1:].partition("/")[0]
        if first in {*OWN_PATHS, *project_names()}:
            raise ValueError(f"/{first} is an address of the server itself; choose another prefix")
        return given

    @field_validator("internal_address")
    @classmethod
    def _is_an_address(cls, given: str) -> str:
        found = ADDRESS.fullmatch(given)
        if given and not (found and 0 < int(found[2]) < 65_536):
            raise ValueError("an address is a host and a port, as 127.0.0.1:9100 or [::1]:9100")
        return given

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, given: list[str]) -> list[str]:
        for entry in given:
            ip_network(entry)
        return given

    @field_validator("api_keys")
    @classmethod
    def _are_hashes(cls, given: list[str]) -> list[str]:
        for number, entry in enumerate(given, start=1):
            found = API_KEY.fullmatch(entry)
            if found is None:  # it may be the key itself, which must not be shown
                raise ValueError(
                    f"entry {number} is no SHA-256 hash of 64 hexadecimal digits, with or without `name:` before it; "
                    "`python -m serve.key` makes a key and its hash"
                )
            if found[2].lower() == NO_KEY:
                raise ValueError(f"entry {number} is the hash of an empty key, which everybody has")
        return given

    @field_validator("admin_token")
    @classmethod
    def _is_a_secret(cls, given: SecretStr | None) -> SecretStr | None:
        if given is None:
            return None
        token = given.get_secret_value()
        if not token:
            raise ValueError("the token is empty; leave the variable out to disable the routes that need it")
        if len(token) < SHORTEST_TOKEN:
            raise ValueError(f"the token has {len(token)} characters, and needs {SHORTEST_TOKEN} or more")
        if not re.fullmatch("[!-~]+", token):
            raise ValueError("the token holds a blank or a character that is not ASCII, which no header can carry")
        return given

    @cached_property
    def internal(self) -> tuple[str, int] | None:
        """Host and port of the internal address, if there is one."""
        found = ADDRESS.fullmatch(self.internal_address)
        return (found[1].strip("[]"), int(found[2])) if found else None

    @cached_property
    def proxy_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """The networks of the trusted proxies."""
        return tuple(map(ip_network, self.trusted_proxies))

    @cached_property
    def key_names(self) -> dict[str, str]:
        """The name of each accepted API key by its hash; of a key without a name, the first 8 digits of the hash."""
        found = [match for entry in self.api_keys if (match := API_KEY.fullmatch(entry))]
        return {match[2].lower(): match[1] or match[2][:8].lower() for match in found}


def read_settings() -> Settings:
    """The settings of the environment; WrongSettingsError where they are wrong."""
    try:
        return Settings()
    except ValidationError as error:
        raise WrongSettingsError("\n".join(map(_sentence, error.errors()))) from None
    except SettingsError as error:
        name = str(error).split('"')[1]
        raise WrongSettingsError(f'SERVE_{name.upper()}: no valid JSON; a list is [] or ["a", "b"].') from None


def _sentence(fault: ErrorDetails) -> str:
    name, *place = map(str, fault["loc"])
    return f"{'.'.join([f'SERVE_{name.upper()}', *place])}: {fault['msg'].removeprefix('Value error, ')}."
