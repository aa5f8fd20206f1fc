"""Where the files of a project are, and writing a file completely or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from stages.core.cli import UserError

if TYPE_CHECKING:
    import pandas as pd

Content = TypeVar("Content")


@dataclass(frozen=True)
class Paths:
    """The files of one project, relative to the repository's root, from where DVC runs every stage."""

    project: str

    @property
    def data(self) -> Path:
        return Path("data", self.project)

    @property
    def model(self) -> Path:
        return Path("models", self.project)

    @property
    def reports(self) -> Path:
        return Path("reports", self.project)


def write(path: Path, save: Callable[[Path], Any]) -> None:
    """Let `save` write a temporary file beside `path`, then rename it: a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        save(temporary)
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path`, which takes its place where the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as name:
        yield Path(name)
        Path(name).chmod(0o755)
        shutil.rmtree(path, ignore_errors=True)
        Path(name).rename(path)


def write_json(path: Path, value: Any) -> None:
    """Sorted keys and a fixed layout, so that equal values are equal bytes. ValueError for NaN, which JSON lacks."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"
    write(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read(path: Path, load: Callable[[Path], Content]) -> Content:
    """What `load` makes of a file of the pipeline; UserError where it is missing or damaged."""
    try:
        return load(path)
    except FileNotFoundError:
        todo = "run `dvc pull` or `dvc repro` at the root of the repository"
        raise UserError(f"{path} is missing in {Path.cwd()}: {todo}") from None
    except Exception as error:  # each library has its own for a damaged file
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"{path} cannot be read ({cause}): delete it and run `dvc checkout` or `dvc repro`") from None


def read_json(path: Path) -> Any:
    """The object in a JSON file; UserError as `read`."""
    return read(path, _json_object)


def read_parquet(path: Path) -> pd.DataFrame:
    """The table in a Parquet file; UserError as `read`."""
    import pandas as pd

    return read(path, pd.read_parquet)


def read_pickle(path: Path) -> Any:
    """The object that joblib stored; UserError as `read`."""
    import joblib

    return read(path, joblib.load)


class _Object(dict[str, Any]):
    """A JSON object of a file. A key that it lacks is the fault of the file, which an older version may have written."""

    def __init__(self, path: Path, members: dict[str, Any]) -> None:
        super().__init__(members)
        self._path = path

    def __missing__(self, key: str) -> Any:
        raise UserError(f"{self._path} lacks {key!r}: delete it and run `dvc checkout` or `dvc repro`")


def _json_object(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text(encoding="utf-8"), object_hook=partial(_Object, path))
    if not isinstance(value, dict):
        raise TypeError(f"it must hold an object, not {type(value).__name__}")
    return value


def sha256(path: Path) -> str:
    """Hex digest of the file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
