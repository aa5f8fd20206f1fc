"""Where parallel work runs: in threads of this machine, or on the workers of a Dask cluster."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import sklearn
from joblib import Parallel, cpu_count, parallel_config
from joblib.parallel import FallbackToBackend, ThreadingBackend

from stages.core.cli import UserError

PATIENCE = 5  # seconds that a cluster has to answer
SOURCES = b"".join(path.read_bytes() for path in sorted(Path(__file__).parents[1].rglob("*.py")))
CODE = hashlib.sha256(SOURCES + sklearn.__version__.encode()).hexdigest()  # as it was loaded: a worker may run an older one


def compute_backend() -> AbstractContextManager[Any]:
    """Where joblib runs: threads of this machine, as the work is in compiled code and a process takes seconds to start; or
    the workers of the Dask scheduler that DASK_SCHEDULER_ADDRESS names. The numbers, and the bytes of the models, are equal.
    """
    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    return cluster(address) if address else parallel_config("threading", n_jobs=cpu_count())


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """The workers of a Dask scheduler; UserError when it has none.

    What comes back from them is numbers. Parts of a model, as the trees of a forest, scikit-learn fits in threads here: the
    pickle of a part that has been through another one has other bytes, so the model would get another hash.
    """
    try:
        from distributed import Client
        from joblib._dask import DaskDistributedBackend
    except ImportError:
        raise UserError(
            "DASK_SCHEDULER_ADDRESS is set but Dask is not installed: unset it, or "
            ".venv/bin/uv pip install -r pyproject.toml --extra dask -c requirements-dev.lock"
        ) from None

    class Cluster(DaskDistributedBackend):
        def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
            if type(parallel) is not Parallel:
                raise FallbackToBackend(ThreadingBackend(nesting_level=0))
            return super().configure(n_jobs, parallel, **options)

        def submit(self, func: Any, callback: Any = None) -> Any:
            func.items = [(alone, (task, *arguments), named) for task, arguments, named in func.items]
            return super().submit(func, callback)

    class Connection(Client):
        def __del__(self) -> None:
            """Nothing: `with` closes it. The garbage collector would close one that found no scheduler while the next one
            holds the lock that this takes, and so both would wait for each other (distributed 2026.8).
            """

    def loaded() -> str | None:
        try:
            return getattr(import_module("stages.modeling.parallel"), "CODE", None)
        except ImportError:
            return None

    try:
        client = Connection(address, timeout=PATIENCE, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        raise UserError(f"DASK_SCHEDULER_ADDRESS={address}: no Dask scheduler answers there: {error}") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError:
            raise UserError(f"the Dask scheduler at {address} has no workers: dask worker {address}") from None
        of_scheduler = client.run_on_scheduler(loaded)  # type: ignore[no-untyped-call]
        codes = {**client.run(loaded), f"scheduler {address}": of_scheduler}
        if other := [place for place, code in codes.items() if code != CODE]:
            raise UserError(
                f"Dask runs other code or libraries than here: {', '.join(other)}. Restart scheduler and workers in this "
                "checkout and its environment, with PYTHONPATH=."
            )
        with parallel_config(Cluster(client=client), n_jobs=cpu_count()):
            yield


def alone(task: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Run a task and its own parallel parts in this thread: from inside a worker they would wait for a place on the cluster
    that tasks like it fill, and what they scatter there brings the worker down (distributed 2026.8).
    """
    with parallel_config("sequential"):
        return task(*arguments, **named)
