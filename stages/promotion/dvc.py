"""DVC, as scripts use it: the only module that calls it. Imports it inside functions, as that takes half a second."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stages.core.cli import UserError


@contextmanager
def repository() -> Iterator[Any]:
    """The DVC repository of the current folder; UserError where there is none, or DVC fails on what is in it."""
    from dvc.exceptions import DvcException  # type: ignore[import-untyped]
    from dvc.repo import Repo  # type: ignore[import-untyped]

    try:
        with Repo() as repo:
            yield repo
    except DvcException as error:
        raise UserError(f"DVC cannot work here: {' '.join(str(error).split())}") from None


def cached_files(digests: Collection[str]) -> tuple[dict[str, Path], str]:
    """The path in the cache of each MD5, and in words where else was looked: what the cache lacks is pulled into it from the
    remote that the workspace is configured with, not the one of an older commit. Some may still be missing.
    """
    from dvc_data.hashfile.hash_info import HashInfo

    with repository() as repo:
        paths = {digest: Path(repo.cache.local.oid_to_path(digest)) for digest in digests}
        missing = [HashInfo("md5", digest) for digest, path in paths.items() if not path.exists()]
        name = repo.config["core"].get("remote")
        if not name:
            return paths, "there is no default remote to ask"
        looked = f"not on the remote {name!r}"
        if missing:
            try:
                repo.cloud.pull(missing)
            except Exception as error:  # every kind of remote has errors of its own
                looked += f", which cannot be read ({type(error).__name__}: {' '.join(str(error).split())})"
    return paths, looked


def default_remote() -> str | None:
    """The name of the remote that `dvc push` uses, from all of DVC's configuration files."""
    with repository() as repo:
        name: str | None = repo.config["core"].get("remote")
        return name


def push_data() -> None:
    """Push what DVC tracks, where there is a remote, before the tags: one without its model would help nobody."""
    if default_remote():
        run_dvc("push", "--quiet")


def outdated_stages(stages: Sequence[str] | None = None) -> list[str]:
    """Those of these stages, or of all, that `dvc repro` would run; UserError where DVC fails."""
    with repository() as repo:
        found = repo.status()  # of all stages, as DVC reads dvc.yaml again for each that it is asked for
    return [stage for stage in found if stages is None or stage in stages]


def run_dvc(*arguments: str) -> None:
    """Run a DVC command, whose progress is shown, and with it the stages by this Python; UserError where it fails."""
    if subprocess.run(_command(*arguments), env=_environment()).returncode:
        raise UserError(f"`dvc {' '.join(arguments)}` failed; its messages are above. Fix the cause and rerun")


def run_experiment(name: str, target: str, settings: Mapping[str, Any]) -> None:
    """Run a stage as an experiment of this name in a folder of its own, with params by dotted key; UserError if it fails."""
    sets = (word for path, value in settings.items() for word in ("-S", f"++{path}={json.dumps(value)}"))
    command = _command("exp", "run", "--temp", "--name", name, target, *sets)
    with subprocess.Popen(
        command, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            output, _ = process.communicate()
        except KeyboardInterrupt:  # which DVC got too: it puts the workspace back as it was
            process.wait()
            raise
    if process.returncode:
        raise UserError(f"`dvc exp run` failed: {output.strip()}")


def show_experiments() -> list[dict[str, Any]]:
    """What `dvc exp show --json` prints: the workspace, then the last commit with its experiments."""
    done = subprocess.run(_command("exp", "show", "--json"), env=_environment(), capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"`dvc exp show` failed: {done.stderr.strip()}")
    shown: list[dict[str, Any]] = json.loads(done.stdout)
    return shown


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "dvc", *arguments]


def _environment() -> dict[str, str]:
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}
