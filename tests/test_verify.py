import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stages.runtime import kernels
from tests import verify
from tests.verify import compare

MACHINE = {"processor": "i486", "openblas": {"numpy.libs": "Haswell"}}
LOCK = "stages: {train@x: {outs: [{path: models/x, md5: '1'}, {path: reports/x, md5: '2'}]}}"


@pytest.fixture
def golden(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A repository with a dvc.lock as the current folder, and the committed results of the battery."""
    Path("dvc.lock").write_text(LOCK)
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message", "Run"]):
        subprocess.run(["git", "-c", "user.name=tester", "-c", "user.email=tester@example.org", *command], check=True)
    Path("battery.json").write_text(json.dumps({"exp": "3"}))
    monkeypatch.setattr(verify, "GOLDEN", workspace / "battery.json")
    return {"models/x": "1", "reports/x": "2"}


def run(
    monkeypatch: pytest.MonkeyPatch, made: list[dict[str, str]], changed: str = "", results: str = "3", native: bool = False
) -> int:
    """Verify with clones that make these outputs."""
    turns = iter(made)

    def battery(folder: Path, environment: dict[str, str]) -> dict[str, Any]:
        assert environment.get(kernels.SWITCH) == ("native" if native else None)
        assert not kernels.KERNELS.keys() & environment.keys()
        return {"machine": MACHINE, "results": {"exp": results}}

    monkeypatch.setattr(verify, "battery", battery)
    monkeypatch.setattr(verify, "reproduce", lambda clone, environment: (next(turns), changed))
    return verify.main(native)


def test_all_is_well_when_both_clones_make_what_is_committed(
    golden: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, [golden, golden]) == 0
    said = capsys.readouterr().out
    assert 'processor: "i486"\nopenblas: {"numpy.libs": "Haswell"}\n2 outputs\n' in said
    assert said.count("all the same") == 4


@pytest.mark.parametrize(
    ("first", "second", "changed", "results", "named"),
    [
        ({}, {"models/x": "9"}, "", "3", "outputs of the two clones: 1 DIFFER\n  models/x\n"),
        ({"models/x": "9"}, {"models/x": "9"}, "", "3", "outputs and the committed dvc.lock: 1 DIFFER\n  models/x\n"),
        ({"data/y": "9"}, {"data/y": "9"}, "", "3", "outputs and the committed dvc.lock: 1 DIFFER\n  data/y\n"),
        ({}, {}, " M dvc.lock\n", "3", "files that Git sees as changed: 1 DIFFER\n   M dvc.lock\n"),
        ({}, {}, "", "9", "operations of tests/battery.py: 1 DIFFER\n  exp\n"),
    ],
)
def test_a_difference_is_named_and_fails(
    first: dict[str, str], second: dict[str, str], changed: str, results: str, named: str,
    golden: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert run(monkeypatch, [golden | first, golden | second], changed, results, native=True) == 1
    assert named in capsys.readouterr().out


def test_outputs_are_the_same_when_paths_and_hashes_agree() -> None:
    assert compare({"a": "1", "b": "2"}, {"b": "2", "a": "1"}) == []


def test_an_output_differs_when_its_hash_does_or_only_one_run_made_it() -> None:
    assert compare({"a": "1", "b": "2", "c": "3"}, {"a": "1", "b": "x", "d": "4"}) == ["b", "c", "d"]
