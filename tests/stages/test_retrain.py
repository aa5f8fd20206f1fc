"""The loop on the small toy project: every outcome, and every place where it can be interrupted."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from stages import retrain
from stages.core.cli import UserError
from stages.monitoring.retraining import REFUSED
from stages.promotion import adoption, checkout, ledger, record, tags
from stages.promotion.git import git
from tests import toys
from tests.samples import raw_rows

NAME = "toy"
PROMOTED = [("drift", "retrain"), ("promotion", True), ("deployment", None)]  # what the ledger says in the end


def batch(folder: Path, *, upside_down: bool = False, broken: bool = False, seed: int = 5) -> str:
    """A file of parcels, in whose truth light ones may come late, or whose scales may be broken."""
    frame = raw_rows(NAME, 300, seed=seed)
    if upside_down:
        rng = np.random.default_rng(0)
        light = frame["weight"].fillna(8).rank(pct=True) < 0.4
        frame["late"] = np.where(rng.random(len(frame)) < 0.05, 1 - light, light).astype(int)
    if broken:
        frame["weight"] = 1.0
    path = folder / f"batch-{seed}.csv"
    frame.to_csv(path, index=False)
    return str(path)


def state() -> dict[str, Any]:
    """What a run leaves: Git's tree but for the ledger, tags, what is not committed, and what the ledger says."""
    keys = ("event", "verdict", "accepted", "version", "hash")  # a reason holds the milliseconds that it took
    tree = git("ls-tree", "-r", "HEAD").splitlines()
    return {
        "tree": [line for line in tree if not line.endswith(("ledger.jsonl", "reports/toy/metrics.json"))],
        "tags": git("tag", "--list"),
        "left": git("status", "--porcelain"),
        "ledger": [{key: entry.get(key) for key in keys} for entry in ledger.read(NAME)],
    }


@pytest.fixture
def live(repository: Path, revisions: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The repository with its second model in prod, rules that suit its few rows, and no page, which takes seconds."""
    monkeypatch.setattr("stages.monitoring.evidently.save_html", lambda *arguments: arguments[-1].touch())
    document = YAML(typ="safe").load(Path("params.yaml"))
    document[NAME]["drift"] = {"retrain_on": ["loss", "pattern"]}  # 2 folds of 240 rows score unlike the model does
    document[NAME]["promote"] = {"margin": 0.9, "fairness_margin": 1.0, "max_ece": 0.9, "latency_ms": 500.0}
    YAML(typ="safe").dump(document, Path("params.yaml"))
    git("commit", "--quiet", "--all", "--message", "Lenient rules")
    tags.register(NAME, revisions[1], "v1.0.0", "The first.")
    tags.assign(NAME, "v1.0.0", "prod", "The first.")
    with toys.known(repository / "stages" / "projects"):
        yield repository


def floor(roc_auc: float) -> None:
    """What a model must reach to be promoted; none reaches 0.999."""
    document = YAML(typ="safe").load(Path("params.yaml"))
    document[NAME]["promote"]["floors"] = {"roc_auc": roc_auc}
    YAML(typ="safe").dump(document, Path("params.yaml"))
    git("commit", "--quiet", "--all", "--message", "A floor")


def sources() -> list[str]:
    found: list[str] = YAML(typ="safe").load(Path("params.yaml"))[NAME]["ingest"]["sources"]
    return found


def again(*interruptions: tuple[ModuleType, str], monkeypatch: pytest.MonkeyPatch, address: str) -> int | None:
    """Run, interrupted once after each of these functions in turn, until it comes to its end."""
    for module, name in interruptions:
        with monkeypatch.context() as patched:
            original = getattr(module, name)

            def stop(*arguments: Any, original: Any = original, **named: Any) -> None:
                original(*arguments, **named)
                raise KeyboardInterrupt

            patched.setattr(module, name, stop)
            with pytest.raises(KeyboardInterrupt):
                retrain.main(NAME, address)
    return retrain.main(NAME, address)


def test_a_batch_like_the_training_data_changes_nothing_but_the_ledger(live: Path, tmp_path: Path) -> None:
    document = YAML(typ="safe").load(Path("params.yaml"))
    document[NAME]["drift"] = {"retrain_on": ["loss"]}  # in so few rows the errors of a model show a pattern by chance
    YAML(typ="safe").dump(document, Path("params.yaml"))
    git("commit", "--quiet", "--all", "--message", "Count the loss alone")
    before = state()
    assert retrain.main(NAME, batch(tmp_path)) is None
    after = state()
    assert after["ledger"][-1]["verdict"] == "keep"
    assert after | {"ledger": []} == before | {"ledger": []}
    assert retrain.main(NAME, batch(tmp_path)) is None
    assert state() == after


def test_a_broken_batch_is_refused_and_changes_nothing_but_the_ledger(live: Path, tmp_path: Path) -> None:
    before = state()
    assert retrain.main(NAME, batch(tmp_path, broken=True)) == REFUSED
    after = state()
    assert after["ledger"][-1]["verdict"] == "refuse"
    assert after | {"ledger": []} == before | {"ledger": []}


def test_a_batch_without_outcomes_is_nothing_to_learn_from_and_trains_nothing(
    live: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "unlabelled.csv"
    raw_rows(NAME, 300, seed=5, shift="covariate").drop(columns="late").to_csv(path, index=False)
    document = YAML(typ="safe").load(Path("params.yaml"))
    document[NAME]["drift"]["retrain_on"] = ["columns"]
    with Path("params.yaml").open("w") as file:
        YAML().dump(document, file)
    git("commit", "--quiet", "--all", "--message", "Retrain on columns")
    before = state()
    assert retrain.main(NAME, str(path)) == REFUSED
    assert "no outcomes to learn from yet" in capsys.readouterr().out
    assert [entry["verdict"] for entry in ledger.read(NAME)] == ["retrain"]
    assert state()["tree"] == before["tree"]
    assert not state()["left"]


def test_a_dry_run_writes_nothing(live: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = state()
    assert retrain.main(NAME, batch(tmp_path, upside_down=True), dry_run=True) is None
    assert state() == before
    assert "would be adopted" in capsys.readouterr().out


def test_uncommitted_work_is_named_and_left_alone(live: Path, tmp_path: Path) -> None:
    Path("params.yaml").write_text(Path("params.yaml").read_text() + "# mine\n")
    with pytest.raises(UserError, match=r"params\.yaml"):
        retrain.main(NAME, batch(tmp_path, upside_down=True))
    assert Path("params.yaml").read_text().endswith("# mine\n")


def test_another_truth_is_learnt_and_deployed(live: Path, tmp_path: Path) -> None:
    address = batch(tmp_path, upside_down=True)
    assert retrain.main(NAME, address) is None
    found = state()
    assert [(entry["event"], entry["verdict"] or entry["accepted"]) for entry in found["ledger"]] == PROMOTED
    assert [Path(source).read_bytes() for source in sources()[1:]] == [Path(address).read_bytes()]
    held = tags.in_stage(NAME)
    assert held is not None
    assert held.version != "v1.0.0"
    assert checkout.model_hash_at(NAME, held.revision) == found["ledger"][2]["hash"]
    assert not found["left"]


@pytest.mark.long
@pytest.mark.parametrize("refused", [False, True])
def test_an_interrupted_loop_ends_where_an_undisturbed_one_does(
    live: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: bool
) -> None:
    if refused:
        floor(0.999)
    address = batch(tmp_path, upside_down=True)
    shutil.move(".dvc/cache", tmp_path / "cache")  # of both copies, as one training tells of both
    Path(".dvc/cache").symlink_to(tmp_path / "cache")
    untouched = state()
    copy = tmp_path / "undisturbed"
    shutil.copytree(live, copy, symlinks=True)
    with contextlib.chdir(copy):
        assert retrain.main(NAME, address) == (REFUSED if refused else None)
        expected = state()
    places: list[tuple[ModuleType, str]] = [(record, "promote"), (adoption, "restore")]
    if not refused:
        places = [(adoption, "run_dvc"), (adoption, "adopt"), (tags, "register"), (record, "promote")]
    code = again(*places, monkeypatch=monkeypatch, address=address)
    assert code == (REFUSED if refused else None)
    found = state()
    assert found == expected
    events = [(entry["event"], entry["verdict"] or entry["accepted"]) for entry in found["ledger"]]
    if refused:
        assert events == [("drift", "retrain"), ("promotion", False)]
        (kept,) = adoption.tracked_batches(NAME)
        stays = {f"{kept}.dvc", f"data/{NAME}/batches/.gitignore"}
        assert {line.split("\t")[1] for line in {*found["tree"]} - {*untouched["tree"]}} == stays
        assert {key: found[key] for key in ("tags", "left")} == {key: untouched[key] for key in ("tags", "left")}
        assert retrain.main(NAME, address) == REFUSED
        assert state() == found
        learns_from_both(address, batch(tmp_path, upside_down=True, seed=6), monkeypatch)
    else:
        assert events == PROMOTED
    assert not found["left"]


def test_batches_are_pending_in_the_order_they_were_checked_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checks = [("c" * 64, "drift"), ("b" * 64, "drift"), ("a" * 64, "promotion"), ("c" * 64, "drift")]
    entries = [{"event": event, "batch": {"sha256": digest}} for digest, event in checks]
    path = {letter: f"data/{NAME}/batches/{letter * adoption.SHORT}.csv" for letter in "abcd"}
    monkeypatch.setattr(ledger, "read", lambda _: entries)
    monkeypatch.setattr(adoption, "tracked_batches", lambda _: [path["b"], path["c"], path["d"]])
    assert adoption.pending_batches(NAME, Path(path["a"]), [path["d"]]) == [path["c"], path["b"], path["a"]]
    assert adoption.pending_batches(NAME, Path(path["c"]), ["simulate"]) == [path["c"], path["b"], path["d"]]


def learns_from_both(refused: str, further: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What becomes of a batch whose model was refused: it can be tried against another model, and waits for the next one."""
    (kept,) = adoption.tracked_batches(NAME)
    with monkeypatch.context() as patched:
        patched.setattr(
            "stages.monitoring.reference.installed_model", lambda _: {"version": "v9.0.0", "hash": "another model"}
        )
        begun = adoption.with_sources(Path("params.yaml").read_text(), NAME, [kept])

        def stop(*_: Any) -> None:
            Path("params.yaml").write_text(begun)
            raise KeyboardInterrupt

        patched.setattr(adoption, "adopt", stop)
        with pytest.raises(KeyboardInterrupt):
            retrain.main(NAME, refused)
    assert sources()[1:] == [kept]
    assert retrain.main(NAME, refused) == REFUSED, "an interrupted adoption is done again"
    assert sources()[1:] == []
    floor(0.0)
    Path(kept).unlink()
    assert retrain.main(NAME, further) is None
    assert [Path(source).read_bytes() for source in sources()[1:]] == [
        Path(path).read_bytes() for path in (refused, further)
    ]
    after = state()
    assert not after["left"]
    assert retrain.main(NAME, refused) is None, "its rows are learnt"
    assert state() == after
