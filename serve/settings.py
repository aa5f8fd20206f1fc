"""Settings of the server, each from the environment variable `SERVE_<NAME>`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every setting has a working default. Lists are written as JSON: `SERVE_PROJECTS='["boston"]'`."""

    model_config = SettingsConfigDict(env_prefix="SERVE_", frozen=True)

    root: Annotated[Path, Field(description="the checkout, or a folder that `stages.deploy --to` wrote")] = Path()
    projects: Annotated[list[str], Field(description="projects to serve; empty: all")] = []
    log: Annotated[bool, Field(description="whether predictions are logged")] = True
    database_url: Annotated[
        str, Field(description="the prediction log: sqlite+aiosqlite:///file or postgresql+asyncpg://...")
    ] = "sqlite+aiosqlite:///serve.db"
    spill_path: Annotated[Path, Field(description="folder that predictions are written to while the database is down")] = (
        Path("serve.spill")
    )
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
    max_requests: Annotated[int, Field(ge=1, description="requests handled at once; further ones get 503")] = 1_000
    rate_limit: Annotated[int, Field(ge=0, description="requests per minute and key or address; 0: no limit")] = 0
    trusted_proxies: Annotated[
        list[str], Field(description="addresses of proxies whose X-Forwarded-For header is trusted")
    ] = []
    api_keys: Annotated[list[str], Field(description="SHA-256 of each accepted API key; empty: no key is required")] = []
    admin_token: Annotated[
        SecretStr | None, Field(description="token for reload and deletion; without it these routes are disabled")
    ] = None
    cors_origins: Annotated[list[str], Field(description="origins whose web pages may call the server (CORS)")] = []
    revision: Annotated[str, Field(description="Git revision of the models, for a server outside a Git checkout")] = ""
    drain_seconds: Annotated[float, Field(gt=0, description="seconds that a shutdown waits for the log to be written")] = (
        10.0
    )
