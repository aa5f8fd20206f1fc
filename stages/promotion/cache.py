"""Files by their MD5, from DVC's cache or its default remote."""

from __future__ import annotations

import shutil
from pathlib import Path

from stages.core.cli import UserError
from stages.promotion.dvc import cached_files
from stages.runtime.identity import md5


def fetch_files(files: dict[str, str], folder: Path) -> None:
    """Put files, MD5 by path, below a folder. UserError for one that is neither in the cache nor on the default remote, or
    is not what its MD5 says.
    """
    cached, looked = cached_files(files.values())
    for path, digest in files.items():
        source = cached[digest]
        if not source.exists():
            raise UserError(
                f"{path} with MD5 {digest} was not found: it is not in the cache as {source}, and {looked}. "
                "Run `dvc push` where it was made; `dvc remote list` shows the remotes"
            )
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        if (found := md5(target)) != digest:
            raise UserError(f"{source} in the cache is damaged: as {path} its MD5 must be {digest}, not {found}. Delete it")
