"""Files by their MD5, from DVC's cache or its default remote."""

from __future__ import annotations

import shutil
from pathlib import Path

from stages.core.cli import UserError
from stages.runtime.identity import md5


def fetch_files(files: dict[str, str], folder: Path) -> None:
    """Put files, MD5 by path, below a folder; what the cache lacks comes into it from the remote that the workspace is
    configured with, not the one of an older commit. UserError for one that is in neither, or is not what its MD5 says.
    """
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]  # here, as it takes half a second
    from dvc.repo import Repo  # type: ignore[import-untyped]
    from dvc_data.hashfile.hash_info import HashInfo

    try:
        repo = Repo()
    except DvcException as error:
        raise UserError(f"DVC has nothing to work with here: {error}") from None
    with repo:
        cached = {path: Path(repo.cache.local.oid_to_path(digest)) for path, digest in files.items()}
        lacking = [HashInfo("md5", files[path]) for path, source in cached.items() if not source.exists()]
        name = repo.config["core"].get("remote")
        remote = f"on the remote {name!r}" if name else "is there a default remote to ask"
        if lacking and name:
            try:
                repo.cloud.pull(lacking)
            except Exception as error:  # every kind of remote has errors of its own
                remote += f", which cannot be read ({type(error).__name__}: {' '.join(str(error).split())})"
    for path, source in cached.items():
        if not source.exists():
            raise UserError(
                f"{path} with MD5 {files[path]} is to be had nowhere: neither is it in the cache as {source} nor {remote}. "
                "Run `dvc push` where it was made; `dvc remote list` shows the remotes"
            )
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        if (found := md5(target)) != files[path]:
            raise UserError(
                f"{source} in the cache is damaged: as {path} its MD5 must be {files[path]}, not {found}. Delete it"
            )
