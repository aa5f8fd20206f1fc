from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from stages.core.cli import UserError
from stages.core.params import load_block, load_seed, validated
from stages.evaluation.settings import Evaluate
from stages.intake.settings import Ingest
from stages.modeling.settings import Train
from stages.review.params import Params
from tests.samples import QUICK, settings


def write(folder: Path, document: dict[str, Any]) -> Path:
    path = folder / "params.yaml"
    with path.open("w") as file:
        YAML(typ="safe").dump(document, file)
    return path


def load_all(path: Path) -> Params:
    """The seed and all blocks of the project `toy`."""
    load_seed(path)
    return validated(YAML(typ="safe").load(path)["toy"], Params, "toy", path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("base.seed", -1, "base.seed: Input should be greater than or equal to 0"),
        ("base.sed", 1, "base.sed: Extra inputs are not permitted"),
        ("toy.ingest.sources", [], "toy.ingest.sources: List should have at least 1 item"),
        ("toy.ingest.max_rejected", 2, "toy.ingest.max_rejected: Input should be less than or equal to 1"),
        ("toy.prepare.test_size", 1, "toy.prepare.test_size: Input should be less than 1"),
        ("toy.prepare.shuffle", True, "toy.prepare.shuffle: Extra inputs are not permitted"),
        ("toy.train.folds", 1, "toy.train.folds: Input should be greater than or equal to 2"),
        ("toy.train.model", "oracle", "toy.train: no estimator 'oracle'; there are logistic_regression"),
        ("toy.train.candidates", ["best", "oracle"], "toy.train: no estimator 'oracle'"),
        ("toy.train.random_forrest", {}, "toy.train.random_forrest: Extra inputs are not permitted"),
        ("toy.train.threshold", {"goal": "win"}, "toy.train.threshold.goal: Input should be 'f1'"),
        ("toy.train", 3, "toy.train: Input should be a valid dictionary"),
        ("toy.evaluate.resamples", 10, "toy.evaluate.resamples: Input should be greater than or equal to 100"),
        ("toy.evaluate.learning_curve", [0.1, 1.5], "toy.evaluate.learning_curve.1: Input should be less than 1"),
        ("toy.deploy", {}, "toy.deploy: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_key_or_value_is_named_with_its_place(tmp_path: Path, key: str, value: Any, message: str) -> None:
    document: dict[str, Any] = {"base": {"seed": 0}, "toy": copy.deepcopy(QUICK)}
    *parents, last = key.split(".")
    block = document
    for parent in parents:
        block = block[parent]
    block[last] = value
    path = write(tmp_path, document)
    with pytest.raises(UserError) as error:
        load_all(path)
    assert str(error.value).startswith(f"{path}: {message}")


def test_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    document = {"base": {"seed": 0}, "toy": {**QUICK, "prepare": {"test_size": 2}, "explain": {"rows": 1}}}
    with pytest.raises(UserError, match=r"toy\.prepare\.test_size: .*; toy\.explain\.rows: "):
        load_all(write(tmp_path, document))


def test_a_project_without_a_block_is_told_to_copy_one(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no block 'toy'"):
        load_block("toy", "train", Train, write(tmp_path, {"base": {"seed": 0}}))


def test_a_block_may_be_empty_but_one_that_a_stage_needs_may_not_be_missing(tmp_path: Path) -> None:
    block = {**QUICK, "evaluate": {}, "explain": {}}
    path = write(tmp_path, {"base": {"seed": 3}, "toy": block})
    assert load_seed(path) == 3
    assert load_block("toy", "evaluate", Evaluate, path).resamples >= 100
    del block["evaluate"]
    with pytest.raises(UserError, match=r"lacks toy\.evaluate: add each, as `evaluate: \{\}`"):
        load_block("toy", "ingest", Ingest, write(tmp_path, {"base": {"seed": 3}, "toy": block}))


def test_settings_of_estimators_are_gathered_from_their_blocks() -> None:
    train = settings(ridge={"alpha": 2}, extra_trees=None)
    assert train.estimators["ridge"] == {"alpha": 2}
    assert train.estimators["extra_trees"] == {}
    assert "voting" not in train.estimators


@pytest.mark.parametrize(
    ("model", "compared"), [("best", ["ridge"]), ("ridge", ["ridge"]), ("random_forest", ["ridge", "random_forest"])]
)
def test_a_model_that_is_no_candidate_is_compared_with_them(model: str, compared: list[str]) -> None:
    assert settings(model=model, candidates=["ridge"]).compared == compared


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a\n\x00\xff", b"base: [1,\nb: }", b"- a", b""])
def test_a_file_that_is_no_yaml_is_named_in_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "params.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        load_seed(path)
    assert str(error.value).startswith(f"{path} ")
    assert "\n" not in str(error.value)
