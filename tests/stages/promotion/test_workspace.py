from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from stages.core.cli import UserError
from stages.core.files import write_json
from stages.promotion.workspace import DEPLOYMENT, check_model
from stages.runtime.identity import md5

MODEL = Path("models/toy")
RECORDED = {"manifest.json": md5(b"recorded"), "model.joblib": md5(b"model")}
RESTORE = "`dvc checkout --force train@toy export@toy` brings"


@pytest.fixture(autouse=True)
def trained(workspace: Path) -> None:
    """A model, as dvc.lock records it."""
    Path("dvc.yaml").write_text("stages: {train: {}, export: {}}")
    outs = [{"path": f"models/toy/{name}", "md5": digest} for name, digest in RECORDED.items()]
    Path("dvc.lock").write_text(yaml.safe_dump({"stages": {"train@toy": {"outs": outs}}}))
    MODEL.mkdir(parents=True)
    (MODEL / "manifest.json").write_bytes(b"recorded")
    (MODEL / "model.joblib").write_bytes(b"model")


def install(version: str, **files: str) -> None:
    """Replace files of the model, as `stages.deploy` does."""
    for name, text in files.items():
        (MODEL / f"{name}.json").write_text(text)
    held = {path.name: md5(path) for path in MODEL.iterdir() if path.name != DEPLOYMENT}
    write_json(MODEL / DEPLOYMENT, {"version": version, "files": held})


def refusal() -> str:
    with pytest.raises(UserError) as refused:
        check_model("toy")
    return str(refused.value)


def test_the_model_that_dvc_lock_records_passes_also_where_it_was_deployed() -> None:
    check_model("toy")
    install("v1.0.0")
    check_model("toy")


def test_files_that_are_missing_are_named_with_what_makes_them() -> None:
    (MODEL / "model.joblib").unlink()
    assert refusal().startswith("models/toy lacks model.joblib: ")
    (MODEL / "manifest.json").unlink()
    MODEL.rmdir()
    assert refusal().startswith("models/toy lacks manifest.json, model.joblib: ")
    assert refusal().endswith("Run `dvc pull`, or without a remote `dvc repro`")


def test_a_deployed_version_is_told_from_a_model_that_changed() -> None:
    (MODEL / "model.joblib").unlink()
    install("v1.0.0", manifest="other")
    assert refusal().startswith("models/toy holds v1.0.0, which `stages.deploy` installed there, and not the model that ")
    assert f"{RESTORE} that back. Deploy with `--to DIR`" in refusal()
    (MODEL / "model.joblib").write_bytes(b"trained since")
    path = "models/toy/manifest.json"
    assert refusal() == f"{path} is not the file that dvc.lock records: run `dvc checkout {path}`, or `dvc pull {path}`"
