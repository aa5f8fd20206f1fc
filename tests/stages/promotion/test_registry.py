from __future__ import annotations

import shutil
from pathlib import Path

import gto.api
import numpy as np
import pandas as pd
import pytest
import yaml

from stages.core.cli import UserError
from stages.promotion import registry
from stages.promotion.registry import Version, git
from stages.runtime.identity import md5, model_files, model_hash, outputs

Revisions = tuple[str, str]
TEST_ROWS = Path("data/toy/test.parquet")


def register_both(revisions: Revisions) -> None:
    for revision, version in zip(revisions, ("v1.9.0", "v1.10.0"), strict=True):
        registry.register("toy", revision, version, f"It is {version}.")


def message_of(tag: str) -> str:
    assert git("cat-file", "-t", tag) == "tag"
    return git("for-each-ref", "--format=%(contents)", f"refs/tags/{tag}")


def test_versions_are_listed_newest_first_and_found_by_name(revisions: Revisions) -> None:
    assert registry.versions("toy") == []
    register_both(revisions)
    first, second = (Version("toy", name, commit) for name, commit in zip(("v1.9.0", "v1.10.0"), revisions, strict=True))
    assert registry.versions("toy") == [second, first]
    assert registry.find("toy", "v1.9.0") == first
    assert registry.versions("six") == registry.versions("toy_plain") == []
    with pytest.raises(UserError, match=r"no version 'v2.0.0' is registered; there is v1.10.0, v1.9.0"):
        registry.find("toy", "v2.0.0")


def test_to_register_twice_makes_one_annotated_tag_with_the_message(revisions: Revisions) -> None:
    for _ in range(2):
        registry.register("toy", revisions[0], "v1.0.0", "The first, as good as any.")
    assert git("tag").split() == ["toy@v1.0.0"]
    assert message_of("toy@v1.0.0") == "The first, as good as any."


def test_a_version_is_one_commit_and_a_commit_one_version(revisions: Revisions) -> None:
    registry.register("toy", revisions[0], "v1.0.0", "The first.")
    with pytest.raises(UserError, match=r"GTO could not register v1.0.0: Version 'v1.0.0' already was registered"):
        registry.register("toy", revisions[1], "v1.0.0", "The second.")
    with pytest.raises(UserError, match=r"GTO could not register v1.1.0: .*already registered in this commit"):
        registry.register("toy", revisions[0], "v1.1.0", "The first again.")
    registry.register("toy_plain", revisions[0], "v1.0.0", "Another project.")
    assert [version.project for version in registry.versions("toy_plain")] == ["toy_plain"]


def test_a_stage_is_held_by_the_version_assigned_last_and_may_go_back(revisions: Revisions) -> None:
    register_both(revisions)
    assert registry.in_stage("toy") is None
    for turn in range(6):  # twelve tags within a second or two: neither time nor the alphabet tells their order
        for version in ("v1.9.0", "v1.10.0"):
            registry.assign("toy", version, "prod", f"{version} for the {turn}th time.")
            assert registry.in_stage("toy") == registry.find("toy", version)
    assert message_of("toy#prod#12") == "v1.10.0 for the 5th time."
    registry.assign("toy", "v1.9.0", "staging", "To try it.")
    assert registry.in_stage("toy") == registry.find("toy", "v1.10.0")
    assert registry.in_stage("toy", "staging") == registry.find("toy", "v1.9.0")


def test_to_assign_what_a_stage_holds_makes_no_tag(revisions: Revisions) -> None:
    register_both(revisions)
    for _ in range(2):
        registry.assign("toy", "v1.9.0", "prod", "It is good.")
    assert git("tag", "--list", "toy#*") == "toy#prod#1"
    with pytest.raises(UserError, match=r"no version 'v3.0.0' is registered"):
        registry.assign("toy", "v3.0.0", "prod", "It is better.")


def test_gto_and_the_registry_agree(revisions: Revisions) -> None:
    register_both(revisions)
    registry.assign("toy", "v1.10.0", "prod", "It is good.")
    (shown,) = gto.api.show(".", "toy#prod")
    assert (shown["version"], shown["commit_hexsha"]) == ("v1.10.0", revisions[1])
    gto.api.assign(".", "toy", stage="prod", version="v1.9.0")
    assert registry.in_stage("toy") == registry.find("toy", "v1.9.0")
    gto.api.unassign(".", "toy", stage="prod", version="v1.9.0")
    assert registry.in_stage("toy") == registry.find("toy", "v1.10.0")
    gto.api.deregister(".", "toy", version="v1.10.0")
    assert [version.version for version in registry.versions("toy")] == ["v1.9.0"]
    assert registry.in_stage("toy") is None


def test_tags_that_are_not_of_the_registry_are_passed_over(revisions: Revisions) -> None:
    git("tag", "toy@v9.0.0")  # not annotated: GTO does not know it either
    for name in ("toy@nonsense", "toy@v1", "toy#", "release"):
        git("tag", "--annotate", "--message", "Something else", name)
    assert registry.versions("toy") == []
    assert registry.in_stage("toy") is None


def test_what_gto_needs_of_git_is_told(revisions: Revisions) -> None:
    git("config", "user.email", "")
    with pytest.raises(UserError, match=r"GTO could not register v1.0.0: Failed to create tag \(.*email.*\)"):
        registry.register("toy", revisions[0], "v1.0.0", "The first.")


def test_the_branch_and_the_tags_of_the_project_are_pushed(revisions: Revisions, tmp_path: Path) -> None:
    git("init", "--quiet", "--bare", str(tmp_path / "origin"))
    with pytest.raises(UserError, match=r"`git push` failed: .*origin"):
        registry.push("toy")
    git("remote", "add", "origin", str(tmp_path / "origin"))
    register_both(revisions)
    registry.register("toy_plain", revisions[0], "v1.0.0", "Another project.")
    for _ in range(2):
        registry.push("toy")
        branch = git("symbolic-ref", "HEAD")
        there = {line.split()[1]: line.split()[0] for line in git("ls-remote", "origin").splitlines()}
        assert there[branch] == revisions[1]
        assert {name for name in there if not name.endswith("^{}")} - {"HEAD"} == {
            branch,
            *(f"refs/tags/{tag}" for tag in git("tag", "--list", "toy*").split()),
        }
        registry.assign("toy", "v1.9.0", "prod", "It is good.")


def test_the_model_of_a_commit_is_named_by_the_hash_of_its_files(revisions: Revisions) -> None:
    assert registry.lock_at(revisions[1]) == Path("dvc.lock").read_bytes()
    names = sorted(path.name for path in Path("models/toy").iterdir())
    assert registry.model_hash_at("toy", revisions[1]) == model_hash({n: md5(Path("models/toy", n)) for n in names})
    assert registry.model_hash_at("toy", revisions[0]) != registry.model_hash_at("toy", revisions[1])


def test_a_commit_without_the_model_is_refused(revisions: Revisions) -> None:
    with pytest.raises(UserError, match=f"dvc.lock of {revisions[0][:12]} records no model of toy_plain"):
        registry.model_hash_at("toy_plain", revisions[0])
    with pytest.raises(UserError, match=r"`git show` failed: fatal: .*dvc.lock"):
        registry.model_hash_at("toy", f"{revisions[0]}~1")
    with pytest.raises(UserError, match="`git show` failed: fatal: invalid object name"):
        registry.model_hash_at("toy", "c0ffee" * 6)


def test_exactly_the_model_and_the_reports_of_a_commit_are_fetched(revisions: Revisions, tmp_path: Path) -> None:
    shutil.rmtree("models")  # it must not matter what the workspace holds
    registry.fetch("toy", revisions[0], tmp_path / "out")
    fetched = {str(p.relative_to(tmp_path / "out")): md5(p) for p in (tmp_path / "out").rglob("*") if p.is_file()}
    recorded = outputs(registry.lock_at(revisions[0]))
    models = {f"models/toy/{name}" for name in model_files(recorded, "toy")}
    plots = {path for path in recorded if path.startswith("reports/toy/plots/")}
    assert set(fetched) == models | plots | {f"reports/toy/{report}" for report in registry.REPORTS}
    assert len(plots) == 7
    assert {"models/toy/scorer.onnx", "models/toy/model.joblib", "models/toy/manifest.json"} < models
    assert fetched == {path: recorded[path] for path in fetched}


def test_an_older_commit_scores_with_its_own_code_and_model(revisions: Revisions) -> None:
    rows = pd.read_parquet(TEST_ROWS).drop(columns="late")
    before = git("status", "--porcelain")
    with registry.checkout("toy", revisions[0]) as folder:
        own = registry.score_rows(folder, "toy", rows)
        shutil.copy("stages/projects/toy.py", folder / "stages" / "projects")
        mixed = registry.score_rows(folder, "toy", rows)
    assert not folder.exists()
    with registry.checkout("toy", revisions[1]) as folder:
        new = registry.score_rows(folder, "toy", rows)
    np.testing.assert_array_equal(registry.score_rows(Path(), "toy", rows), new)
    assert own.shape == (len(rows),)
    assert 0 < own.min() < own.max() < 1
    assert (own != mixed).any(), "the features differ, so that the test tells one code from the other"
    assert (own != new).any()
    assert git("status", "--porcelain") == before


def test_a_script_that_fails_tells_what_it_said_last(revisions: Revisions) -> None:
    with registry.tree(revisions[0]) as folder:
        with pytest.raises(UserError, match=r"`python -m stages.nothing` failed with the code in .*: No module named"):
            registry.run_script(folder, "stages.nothing")
        with pytest.raises(UserError, match=r"lacks? the column|FileNotFoundError"):
            registry.score_rows(folder, "toy", pd.read_parquet(TEST_ROWS))


def test_a_project_needs_no_entry_among_the_artifacts_of_dvc(revisions: Revisions) -> None:
    assert "toy" not in yaml.safe_load(Path("dvc.yaml").read_text())["artifacts"]
    register_both(revisions)
    registry.assign("toy", "v1.9.0", "prod", "It is good.")
    assert registry.in_stage("toy") == registry.find("toy", "v1.9.0")
