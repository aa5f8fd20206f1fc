from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from stages.core.cli import UserError
from stages.core.files import write_json
from stages.promotion.workspace import DEPLOYMENT, check_model, describe_replaced, installed_model
from stages.runtime.identity import md5, model_hash

MODEL = Path("models/toy")
RECORDED = {"manifest.json": md5(b"recorded"), "model.joblib": md5(b"model")}
RESTORE = "`dvc checkout --force train@toy export@toy` brings"
OTHER = "0" * 64


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


def test_nothing_is_said_where_no_other_model_was() -> None:
    assert describe_replaced("toy", {"version": None, "hash": None}, OTHER) == ""
    assert describe_replaced("toy", {"version": "v1.0.0", "hash": OTHER}, OTHER) == ""


def test_what_was_replaced_is_said_with_what_brings_it_back() -> None:
    recorded = model_hash(RECORDED)
    short = f"({recorded[:12]})"
    assert describe_replaced("toy", installed_model(MODEL), OTHER) == (
        f"it replaced the model that dvc.lock records {short}; {RESTORE} it back"
    )
    install("v1.0.0")
    again = "`python -m stages.deploy toy --version v1.0.0` deploys it again"
    said = describe_replaced("toy", installed_model(MODEL), OTHER)
    assert said == f"it replaced v1.0.0 {short}; {again}; {RESTORE} it back"
    install("v1.0.0", manifest="other")
    before = installed_model(MODEL)
    replaced = f"it replaced v1.0.0 ({str(before['hash'])[:12]}); {again}"
    assert describe_replaced("toy", before, OTHER) == f"{replaced}; {RESTORE} the model that dvc.lock records back"
    assert describe_replaced("toy", before, recorded) == replaced
    Path("dvc.lock").unlink()
    assert describe_replaced("toy", before, OTHER) == replaced
    (MODEL / "manifest.json").write_text("lost")
    said = describe_replaced("toy", installed_model(MODEL), OTHER)
    assert said.endswith(" that is neither a deployed version nor recorded in dvc.lock")
