"""Reading a batch to be checked: a file of any size, or what the server has logged, as one sample and counts of all rows."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from pyarrow import ArrowException
from pyarrow.parquet import ParquetFile
from sqlalchemy import Select, select

from serve.log.store import ERRORS, connect, reason
from serve.log.tables import feedback, predictions
from stages.core.cli import UserError
from stages.core.files import sha256
from stages.intake.sift import sift
from stages.intake.sources import read_source
from stages.projects._base import Column, Project, columns_of

CHUNK = 50_000  # rows of a Parquet file in memory at once
PAGE = 5_000  # logged predictions read at once


@dataclass
class Batch:
    """What there is to know of a batch. `frame` holds the rows that keep the schema, cast and with every column of the
    project's record: at most a sample of them, one of each object, in an order that does not depend on the file's. The
    counts are of all rows: `rejected` for breaking the schema, by reason and with the value that did so most often; `gaps`
    by column and `unseen` values of open texts by column among the `accepted`.
    """

    address: str
    sha256: str | None = None
    rows: int = 0
    accepted: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    offenders: dict[str, Counter[str]] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    gaps: Counter[str] = field(default_factory=Counter)
    unseen: dict[str, Counter[str]] = field(default_factory=dict)
    sampled: int | None = None
    frame: pd.DataFrame = field(default_factory=pd.DataFrame)


def gather(
    address: str, chunks: Iterable[pd.DataFrame], project: Project, reference: pd.DataFrame, limit: int, seed: int
) -> Batch:
    """The batch that these frames of raw rows make up, with a random sample of at most `limit` rows. UserError when there
    are no rows, or none of the columns.
    """
    batch, columns, rng = Batch(address), checked_columns(project), np.random.default_rng(seed)
    texts = [column.name for column in project.columns if column.kind == "text" and not column.choices]
    known = {name: set(reference[name].dropna()) for name in texts}
    kept = pd.DataFrame()
    for chunk in chunks:
        batch.missing = [column.name for column in project.columns if column.required and column.name not in chunk]
        if not any(column.name in chunk for column in project.columns):
            raise UserError(f"batch {address!r}: has no column of {project.name}; its first is {str(chunk.columns[0])!r}")
        accepted, rejected, counts = sift(chunk, columns)
        batch.rows, batch.accepted, batch.rejected = (
            total + len(part)
            for total, part in zip((batch.rows, batch.accepted, batch.rejected), (chunk, accepted, rejected), strict=True)
        )
        for reason_, count in counts.items():
            batch.reasons[reason_] += count
            name = reason_.partition(":")[0]
            if name in rejected:
                bad = rejected.loc[rejected["reason"].str.contains(reason_, regex=False), name]
                batch.offenders.setdefault(reason_, Counter()).update(bad.dropna())
        batch.gaps.update({str(name): int(count) for name, count in accepted.isna().sum().items()})
        for name, values in known.items():
            new = accepted.loc[~accepted[name].isin(values), name].dropna()
            batch.unseen.setdefault(name, Counter()).update(new)
        kept = pd.concat([kept, accepted.assign(_key=rng.random(len(accepted)))], ignore_index=True)
        if len(kept) > limit:
            kept, batch.sampled = kept.nsmallest(limit, "_key"), limit
    if not batch.rows:
        raise UserError(f"batch {address!r}: has no rows")
    batch.frame = shuffle(one_of_each(kept.drop(columns="_key"), project), seed)
    return batch


def checked_columns(project: Project) -> tuple[Column, ...]:
    """The columns of the record; of them a batch must have those of the row, as outcomes come later or never."""
    return tuple(
        column if column.name in project.row.model_fields else replace(column, required=False)
        for column in columns_of(project.record)
    )


def one_of_each(frame: pd.DataFrame, project: Project) -> pd.DataFrame:
    """One row of each object. Copies are no evidence of their own: they make every test too sure, and let a classifier
    recognise in one half of a batch what it saw in the other.
    """
    return frame[~project.groups(frame).duplicated()] if project.groups else frame


def shuffle(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The rows in a random order that depends on what they hold, and not on the order they came in."""
    order = np.argsort(pd.util.hash_pandas_object(frame, index=False).to_numpy(), kind="stable")
    return frame.iloc[order[np.random.default_rng(seed).permutation(len(frame))]].reset_index(drop=True)


def read_file(address: str, project: Project, reference: pd.DataFrame, limit: int, seed: int) -> Batch:
    """The batch in a CSV or Parquet file or from a simulator (see `intake.sources`). A Parquet file on this machine is read
    a part at a time, so that it may be larger than memory. UserError for what cannot be read.
    """
    path = Path(urlsplit(address).path)
    if urlsplit(address).scheme in ("", "file") and path.suffix.lower() == ".parquet" and path.exists():
        try:
            batch = gather(address, _parts(path), project, reference, limit, seed)
        except (ArrowException, OSError) as error:
            raise UserError(f"batch {address!r}: is no readable Parquet file ({str(error).strip()})") from None
        batch.sha256 = sha256(path)
        return batch
    source = read_source(address, project, seed)
    batch = gather(address, [source.frame], project, reference, limit, seed)
    batch.sha256 = source.digest
    return batch


def _parts(path: Path) -> Iterator[pd.DataFrame]:
    with ParquetFile(path) as file:
        for part in file.iter_batches(CHUNK):
            yield part.to_pandas()


def read_log(database: str, hours: float, project: Project, reference: pd.DataFrame, limit: int, seed: int) -> Batch:
    """The batch of rows that the server was asked to predict in the last hours, each with the outcome that was reported
    last. UserError when the log cannot be read.
    """
    digest = hashlib.sha256()
    address = f"log of the last {hours:g} hours"
    try:
        batch = gather(address, _pages(database, hours, project, digest), project, reference, limit, seed)
    except ERRORS as error:
        raise UserError(f"the prediction log cannot be read: {reason(error)}") from None
    batch.sha256 = digest.hexdigest()
    return batch


def _pages(database: str, hours: float, project: Project, digest: Any) -> Iterator[pd.DataFrame]:
    try:
        engine = connect(database, 10.0, asyncio.to_thread).engine
    except ValueError as error:
        raise UserError(f"--database: {error}") from None
    if engine.url.get_backend_name() == "sqlite" and not Path(str(engine.url.database)).exists():
        raise UserError(f"--database: there is no file {engine.url.database}; SERVE_DATABASE_URL names the server's log")
    outcome = select(feedback.c.outcome).where(feedback.c.prediction_id == predictions.c.id)
    latest = outcome.order_by(feedback.c.id.desc()).limit(1).scalar_subquery()
    query = (
        select(predictions.c.id, predictions.c.input, latest)
        .where(predictions.c.project == project.name, predictions.c.time >= datetime.now(UTC) - timedelta(hours=hours))
        .order_by(predictions.c.id)
        .limit(PAGE)
    )

    async def page(of: Select[Any]) -> list[Any]:
        async with engine.connect() as connection:
            return list((await connection.execute(of)).all())

    with asyncio.Runner() as runner:
        try:
            last = ""
            while rows := runner.run(page(query.where(predictions.c.id > last))):
                last = rows[-1].id
                digest.update("".join(f"{row[1]}\t{row[2]}\n" for row in rows).encode())
                frame = pd.DataFrame([json.loads(row[1]) for row in rows], columns=list(project.row.model_fields))
                frame[project.target] = [None if row[2] is None else json.loads(row[2]) for row in rows]
                yield frame
        finally:
            runner.run(engine.dispose())
