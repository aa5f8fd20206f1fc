"""Reading what a source of data holds: a simulator, or a file of text or Parquet somewhere."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from urllib.parse import parse_qsl, urlsplit

import fsspec
import numpy as np
import pandas as pd
from pyarrow import ArrowException

from stages.core.cli import UserError
from stages.projects._base import Project, columns_of
from stages.runtime.tables import match_names, read_table

SCHEMES = ("", "file", "s3", "http", "https")
TEXT = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")


@dataclass(frozen=True)
class Source:
    """The rows of one source as it holds them, under the names that the project gives its columns, and where they came from.
    `digest` is the SHA-256 of the file's bytes; a simulation has none, its rows follow from the address and the seed.
    `faults` says of a row, by its place, why its cells cannot be told apart.
    """

    address: str
    frame: pd.DataFrame
    simulated: bool
    digest: str | None = None
    faults: dict[int, str] = field(default_factory=dict)


def read_source(address: str, project: Project, seed: int) -> Source:
    """Rows of `simulate[?rows=&shift=&seed=]`, or of a `.csv` file (see `runtime.tables`) or a `.parquet` file at a path,
    `s3://` or `https://` address. UserError says in one sentence what is wrong with it.
    """
    if address.partition("?")[0] == "simulate":
        return Source(address, _simulate(address, project, seed), simulated=True)
    return load_file(address, project)


def load_file(address: str, project: Project) -> Source:
    """Rows of a file, as `read_source` reads them."""
    content = fetch(address)
    try:
        frame, faults = _parse(address, content)
        frame = frame.rename(columns=match_names(map(str, frame), columns_of(project.record)))
    except ValueError as error:
        raise UserError(f"source {address!r}: {error}") from None
    return Source(address, frame, simulated=False, digest=hashlib.sha256(content).hexdigest(), faults=faults)


def _simulate(address: str, project: Project, seed: int) -> pd.DataFrame:
    options = dict(parse_qsl(address.partition("?")[2], keep_blank_values=True))
    shift = options.pop("shift", None)
    try:
        rows = int(options.pop("rows", project.simulated_rows))
        seed = int(options.pop("seed", seed))
    except ValueError:
        raise UserError(f"source {address!r}: rows and seed are whole numbers") from None
    if rows < 1 or seed < 0:
        raise UserError(f"source {address!r}: rows start at 1 and seeds at 0")
    if options:
        raise UserError(f"source {address!r}: unknown option {', '.join(options)}; there are rows, shift and seed")
    if shift not in (None, *project.shifts):
        raise UserError(f"source {address!r}: no shift {shift!r}; {project.name} has {', '.join(project.shifts)}")
    rng = np.random.default_rng([*project.name.encode(), seed])
    return pd.DataFrame(project.simulate(rng, rows, shift))


def fetch(address: str) -> bytes:
    """The bytes of a file at a path, `s3://` or `https://` address; UserError for one that cannot be read, or is empty."""
    scheme = urlsplit(address).scheme
    if scheme not in SCHEMES:
        raise UserError(f"source {address!r}: unknown scheme {scheme!r}; use simulate, a path, s3:// or https://")
    try:
        with fsspec.open(address, "rb") as file:
            content: bytes = file.read()
    except FileNotFoundError as error:
        if scheme.startswith("http") and getattr(error.__cause__, "status", 0) != 404:  # fsspec says so of any failure
            raise UserError(f"source {address!r}: cannot be read ({error.__cause__})") from None
        raise UserError(f"source {address!r}: there is no such file") from None
    except Exception as error:  # every file system has errors of its own
        raise UserError(f"source {address!r}: cannot be read ({type(error).__name__}: {error})") from error
    if not content.strip():
        raise UserError(f"source {address!r}: the file is empty")
    return content


def _parse(address: str, content: bytes) -> tuple[pd.DataFrame, dict[int, str]]:
    """The rows in a file, and the faults of some; ValueError says what is wrong with it."""
    name = PurePosixPath(urlsplit(address).path).name.lower()
    if name.endswith(TEXT):
        table = read_table(content)
        frame = pd.DataFrame(table.rows, columns=table.names, dtype="str")
        return frame.mask(frame == ""), table.faults
    if not name.endswith(".parquet"):
        raise ValueError(f"files end in .parquet or one of {', '.join(TEXT)}")
    try:
        return pd.read_parquet(io.BytesIO(content)), {}
    except (ArrowException, OSError) as error:
        raise ValueError(f"is no readable Parquet file, perhaps cut short ({str(error).strip()})") from None
