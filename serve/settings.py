"""Settings of the server, each from the environment variable `SERVE_<NAME>`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Every setting has a working default. Lists are written as JSON: `SERVE_PROJECTS='["boston"]'`."""

    model_config = SettingsConfigDict(env_prefix="SERVE_", frozen=True)

    root: Annotated[Path, Field(description="the checkout, or the folder with models/, reports/ and dvc.lock")] = Path()
    projects: Annotated[list[str], Field(description="the projects to serve; empty: every project there is")] = []
    log: Annotated[bool, Field(description="whether predictions are logged")] = True
    database_url: Annotated[
        str, Field(description="the prediction log: sqlite+aiosqlite:///file or postgresql+asyncpg://...")
    ] = "sqlite+aiosqlite:///serve.db"
    spill_path: Annotated[Path, Field(description="folder for predictions while the database is down")] = Path("serve.spill")
    retention_days: Annotated[int, Field(ge=0, description="age at which logged predictions are deleted; 0: never")] = 0
    drift_rows: Annotated[int, Field(ge=200, description="latest predictions that drift is looked for in")] = 1_000
    max_queue: Annotated[int, Field(ge=1, description="rows that may wait for the log; more are refused with 503")] = 10_000
    max_batch: Annotated[int, Field(ge=1, description="rows of one batch request")] = 1_000
    max_body: Annotated[int, Field(ge=1_000, description="bytes of one request")] = 5_000_000
    max_requests: Annotated[int, Field(ge=1, description="requests in work at once; more are refused with 503")] = 1_000
    rate_limit: Annotated[int, Field(ge=0, description="requests a minute per key or address; 0: no limit")] = 0
    trusted_proxies: Annotated[list[str], Field(description="addresses whose X-Forwarded-For is believed")] = []
    api_keys: Annotated[list[str], Field(description="SHA-256 of each accepted key; empty: no key is asked for")] = []
    admin_token: Annotated[
        SecretStr | None, Field(description="opens reload and deletion; without it those routes are off")
    ] = None
    cors_origins: Annotated[list[str], Field(description="origins whose pages may call the server")] = []
    revision: Annotated[str, Field(description="Git revision, where there is no .git to ask")] = ""
    drain_seconds: Annotated[float, Field(gt=0, description="how long a stop waits for the log to be written")] = 10.0
