from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from stages.promotion.code_changes import LAYOUT, changed_code, code_dependencies, read_code

FLAT = {
    "stages/train.py": b"from stages.pipeline import fit\n\ndef main():\n    fit(1)\n",
    "stages/pipeline.py": (
        b'"""Fits."""\nfrom stages.files import write\n\ndef fit(x):\n    return x + 1\n\ndef score(x):\n    return x\n'
    ),
    "stages/files.py": b"def write(path):\n    path.touch()\n",
}
FOLDERS = {
    "stages/train.py": b"from stages.modeling.pipeline import fit\n\ndef main():\n    fit(1)\n",
    "stages/modeling/pipeline.py": (
        b'"""Fits and scores."""\nfrom stages.core.files import write\n\ndef fit(x):\n    return x + 1\n\n'
        b"def score(x):\n    return x\n"
    ),
    "stages/core/files.py": FLAT["stages/files.py"],
}


def test_the_same_code_differs_in_nothing_and_a_changed_file_is_named() -> None:
    assert changed_code(FLAT, FLAT) == []
    assert changed_code(FLAT, FLAT | {"stages/files.py": b"# a comment\n" + FLAT["stages/files.py"]}) == ["stages/files.py"]
    assert changed_code(FLAT, FLAT | {"stages/extra.py": b"X = 1\n"}) == ["stages/extra.py"]
    assert changed_code(FLAT, {path: text for path, text in FLAT.items() if "files" not in path}) == ["stages/files.py"]


def test_a_move_with_the_imports_that_follow_from_it_counts_once() -> None:
    assert changed_code(FLAT, FOLDERS) == [LAYOUT]
    assert changed_code(FOLDERS, FLAT) == [LAYOUT]


@pytest.mark.parametrize(
    ("path", "old", "new", "named"),
    [
        ("stages/modeling/pipeline.py", b"x + 1", b"x + 2", "stages/modeling/pipeline.py"),
        ("stages/modeling/pipeline.py", b"def score(x):\n    return x\n", b"", "stages/modeling/pipeline.py"),
        ("stages/train.py", b"fit(1)", b"fit(2)", "stages/train.py"),
        ("stages/core/files.py", b"touch", b"mkdir", "stages/core/files.py"),
    ],
)
def test_what_changed_besides_the_move_is_named_where_it_is_now(path: str, old: bytes, new: bytes, named: str) -> None:
    changed = changed_code(FLAT, FOLDERS | {path: FOLDERS[path].replace(old, new)})
    assert changed[0] == LAYOUT
    assert named in changed
    assert set(changed) <= {LAYOUT, named, "stages/files.py"}


def test_a_file_that_is_no_python_is_compared_as_it_is() -> None:
    assert changed_code({"stages/a.txt": b"("}, {"stages/a.txt": b")"}) == ["stages/a.txt"]


def test_the_code_below_a_dependency_is_read_without_prose_and_compiled_files(tmp_path: Path) -> None:
    for path in ("stages/train.py", "stages/core/files.py", "stages/core/README.md", "stages/core/__pycache__/files.pyc"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(path)
    found = read_code(tmp_path, ["stages/train.py", "stages/core", "stages/gone.py"])
    assert found == {path: path.encode() for path in ("stages/train.py", "stages/core/files.py")}


def test_the_code_of_a_model_is_that_of_the_stages_that_made_it() -> None:
    stages = {
        f"{stage}@{project}": {
            "cmd": "",
            "deps": [{"path": f"stages/{stage}.py", "md5": stage}, {"path": f"data/{project}/x", "md5": "x"}],
        }
        for project in ("toy", "toy_plain")
        for stage in ("ingest", "prepare", "train", "export", "evaluate", "explain")
    }
    del stages["ingest@toy"]
    lock = yaml.safe_dump({"schema": "2.0", "stages": stages}).encode()
    making = ("ingest", "prepare", "train", "export")
    assert code_dependencies(lock, "toy", making) == {f"stages/{stage}.py" for stage in ("prepare", "train", "export")}
    assert len(code_dependencies(lock, "toy")) == 5
