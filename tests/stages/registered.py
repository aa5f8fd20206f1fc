"""A clone in which the toy was made twice, the second time with other features, and once predicted."""

from __future__ import annotations

import json
import shutil
from contextlib import chdir
from importlib import import_module
from pathlib import Path

from tests.clones import run
from tests.samples import ROOT, STAGES
from tests.toys import known

REST = {"carrier": "Ant", "distance": 142, "value": 83.86, "express": 1, "insured": 0}
ROWS = (
    {"sender": "0007", "region": "north", "weight": 2.5, "posted": "2024-03-01", **REST},
    {"sender": "12.0", "region": None, "weight": None, "posted": "2024-03-08", **REST},
)
SERVE = """
import json, sys
from litestar.testing import TestClient
from serve.app import create_app
from serve.settings import Settings

folder, rows = sys.argv[1:]
settings = Settings(projects=["toy"], database_url=f"sqlite+aiosqlite:///{folder}/log.db", spill_path=folder)
with TestClient(create_app(settings)) as client, open(f"{folder}/logged.jsonl", "w") as file:
    for row in json.loads(rows):
        answer = client.post("/v1/toy/predict", json=row).raise_for_status().json()
        print(client.get(f"/v1/predictions/{answer['prediction_id']}").raise_for_status().text, file=file)
"""


def predict(clone: Path) -> None:
    """Have the server predict `ROWS` with what is checked out; what its log then says goes to .git/logged.jsonl."""
    (clone / "serve").symlink_to(ROOT / "serve")
    run(clone, "python", "-c", SERVE, str(clone / ".git"), json.dumps(ROWS))
    (clone / "serve").unlink()


def make(folder: Path, clone: Path) -> None:
    """Two commits of the toy in a copy of the clone; in .git what was predicted at the first."""
    shutil.copytree(clone, folder, symlinks=True)
    run(folder, "git", "config", "user.name", "Tess Tester")
    run(folder, "git", "config", "user.email", "tess@example.org")
    predict(folder)
    module = folder / "stages" / "projects" / "toy.py"
    module.write_text(module.read_text().replace('np.maximum(row["weight"], 0.01)', 'np.maximum(row["weight"], 5)'))
    with chdir(folder), known(module.parent):
        for stage in STAGES:
            import_module(f"stages.{stage}").main("toy")  # in this process, as DVC begins one for each stage
    run(folder, "dvc", "commit", "--quiet", "--force", *(f"{stage}@toy" for stage in STAGES))
    run(folder, "git", "commit", "--quiet", "--all", "--message", "Take every parcel for at least five kilograms")
