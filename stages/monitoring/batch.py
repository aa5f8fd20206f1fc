"""Reading a batch to be checked: a file of any size, as one sample and counts of all rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pandas as pd
from pyarrow import ArrowException
from pyarrow.parquet import ParquetFile

from stages.core.cli import UserError
from stages.core.files import sha256
from stages.core.objects import objects
from stages.intake.sift import sift
from stages.intake.sources import read_source
from stages.projects._base import Column, Project, columns_of
from stages.runtime.tables import match_names

CHUNK = 50_000  # rows of a Parquet file in memory at once


@dataclass
class Batch:
    """A batch. `frame` holds the rows that keep the schema, cast and with every column of the project's record: at most a
    sample of them, one of each object, in an order that does not depend on the file's. The counts are of all rows:
    `rejected` for breaking the schema, by reason and with the value that did so most often; `missing` values by column and
    `unseen` values of open texts by column among the `accepted`. `absent` are the required columns that the batch lacks.
    """

    address: str
    sha256: str | None = None
    rows: int = 0
    accepted: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    offenders: dict[str, Counter[str]] = field(default_factory=dict)
    absent: list[str] = field(default_factory=list)
    missing: Counter[str] = field(default_factory=Counter)
    unseen: dict[str, Counter[str]] = field(default_factory=dict)
    sampled: int | None = None
    frame: pd.DataFrame = field(default_factory=pd.DataFrame)


def gather(
    address: str,
    chunks: Iterable[pd.DataFrame],
    project: Project,
    reference: pd.DataFrame,
    limit: int,
    seed: int,
    faults: dict[int, str] | None = None,
) -> Batch:
    """The batch that these frames of raw rows make up, with a random sample of at most `limit` rows. `faults` are those of
    the rows of a single frame (see `intake.sources`). UserError if there are no rows, or none of the columns.
    """
    batch, columns, rng = Batch(address), checked_columns(project), np.random.default_rng(seed)
    texts = [column.name for column in project.columns if column.kind == "text" and not column.choices]
    known = {name: set(reference[name].dropna()) for name in texts}
    kept = pd.DataFrame()
    for chunk in chunks:
        batch.absent = [column.name for column in project.columns if column.required and column.name not in chunk]
        if not any(column.name in chunk for column in project.columns):
            raise UserError(f"batch {address!r}: has no column of {project.name}; its first is {str(chunk.columns[0])!r}")
        accepted, rejected, counts = sift(chunk, columns, faults)
        batch.rows, batch.accepted, batch.rejected = (
            total + len(part)
            for total, part in zip((batch.rows, batch.accepted, batch.rejected), (chunk, accepted, rejected), strict=True)
        )
        for reason, count in counts.items():
            batch.reasons[reason] += count
            name = reason.partition(":")[0]
            if name in rejected:
                bad = rejected.loc[rejected["reason"].str.contains(reason, regex=False), name]
                batch.offenders.setdefault(reason, Counter()).update(bad.dropna())
        batch.missing.update({str(name): int(count) for name, count in accepted.isna().sum().items()})
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
    """One row of each object. Copies are not independent: they make every test too sure, and let a classifier
    recognise in one half of a batch what it saw in the other.
    """
    return frame[~objects(frame, project).duplicated()]


def shuffle(frame: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The rows in a random order that depends on their values, and not on the order they came in."""
    order = np.argsort(pd.util.hash_pandas_object(frame, index=False).to_numpy(), kind="stable")
    return frame.iloc[order[np.random.default_rng(seed).permutation(len(frame))]].reset_index(drop=True)


def read_file(address: str, project: Project, reference: pd.DataFrame, limit: int, seed: int) -> Batch:
    """The batch in a CSV or Parquet file or from a simulator (see `intake.sources`). A Parquet file on this machine is read
    a part at a time, so that it may be larger than memory. UserError for what cannot be read.
    """
    path = Path(urlsplit(address).path)
    if urlsplit(address).scheme in ("", "file") and path.suffix.lower() == ".parquet" and path.exists():
        try:
            batch = gather(address, _parts(path, project), project, reference, limit, seed)
        except (ArrowException, OSError) as error:
            raise UserError(f"batch {address!r}: is no readable Parquet file ({str(error).strip()})") from None
        batch.sha256 = sha256(path)
        return batch
    source = read_source(address, project, seed)
    batch = gather(address, [source.frame], project, reference, limit, seed, source.faults)
    batch.sha256 = source.digest
    return batch


def _parts(path: Path, project: Project) -> Iterator[pd.DataFrame]:
    with ParquetFile(path) as file:
        for part in file.iter_batches(CHUNK):
            frame = part.to_pandas()
            yield frame.rename(columns=match_names(map(str, frame), columns_of(project.record)))


def most_frequent(values: Counter[str], count: int) -> dict[str, int]:
    """The most frequent values; of equally frequent ones the first by name, whatever the order of the rows."""
    return dict(sorted(values.items(), key=lambda item: (-item[1], item[0]))[:count])
