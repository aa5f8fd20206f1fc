from __future__ import annotations

from pathlib import Path

import gto.api
import pytest

from stages.core.cli import UserError
from stages.promotion import tags
from stages.promotion.git import git
from stages.promotion.tags import Version

Revisions = tuple[str, str]


def register_both(revisions: Revisions) -> None:
    for revision, version in zip(revisions, ("v1.9.0", "v1.10.0"), strict=True):
        tags.register("toy", revision, version, f"It is {version}.")


def message_of(tag: str) -> str:
    assert git("cat-file", "-t", tag) == "tag"
    return git("for-each-ref", "--format=%(contents)", f"refs/tags/{tag}")


def test_versions_are_listed_newest_first_and_found_by_name(revisions: Revisions) -> None:
    assert tags.versions("toy") == []
    register_both(revisions)
    first, second = (Version("toy", name, commit) for name, commit in zip(("v1.9.0", "v1.10.0"), revisions, strict=True))
    assert tags.versions("toy") == [second, first]
    assert tags.find("toy", "v1.9.0") == first
    assert tags.versions("six") == tags.versions("toy_plain") == []
    with pytest.raises(UserError, match=r"no version 'v2.0.0' is registered; there is v1.10.0, v1.9.0"):
        tags.find("toy", "v2.0.0")


def test_to_register_twice_makes_one_annotated_tag_with_the_message(revisions: Revisions) -> None:
    for _ in range(2):
        tags.register("toy", revisions[0], "v1.0.0", "The first, as good as any.")
    assert git("tag").split() == ["toy@v1.0.0"]
    assert message_of("toy@v1.0.0") == "The first, as good as any."


def test_a_version_is_one_commit_and_a_commit_one_version(revisions: Revisions) -> None:
    tags.register("toy", revisions[0], "v1.0.0", "The first.")
    with pytest.raises(UserError, match=r"GTO could not register v1.0.0: Version 'v1.0.0' already was registered"):
        tags.register("toy", revisions[1], "v1.0.0", "The second.")
    with pytest.raises(UserError, match=r"GTO could not register v1.1.0: .*already registered in this commit"):
        tags.register("toy", revisions[0], "v1.1.0", "The first again.")
    tags.register("toy_plain", revisions[0], "v1.0.0", "Another project.")
    assert [version.project for version in tags.versions("toy_plain")] == ["toy_plain"]


def test_a_stage_is_held_by_the_version_assigned_last_and_may_go_back(revisions: Revisions) -> None:
    register_both(revisions)
    assert tags.in_stage("toy") is None
    for turn in range(6):  # twelve tags within a second or two: neither time nor the alphabet tells their order
        for version in ("v1.9.0", "v1.10.0"):
            tags.assign("toy", version, "prod", f"{version} for the {turn}th time.")
            assert tags.in_stage("toy") == tags.find("toy", version)
    assert message_of("toy#prod#12") == "v1.10.0 for the 5th time."
    tags.assign("toy", "v1.9.0", "staging", "To try it.")
    assert tags.in_stage("toy") == tags.find("toy", "v1.10.0")
    assert tags.in_stage("toy", "staging") == tags.find("toy", "v1.9.0")


def test_to_assign_what_a_stage_holds_makes_no_tag(revisions: Revisions) -> None:
    register_both(revisions)
    for _ in range(2):
        tags.assign("toy", "v1.9.0", "prod", "It is good.")
    assert git("tag", "--list", "toy#*") == "toy#prod#1"
    with pytest.raises(UserError, match=r"no version 'v3.0.0' is registered"):
        tags.assign("toy", "v3.0.0", "prod", "It is better.")


def test_gto_and_the_registry_agree(revisions: Revisions) -> None:
    register_both(revisions)
    tags.assign("toy", "v1.10.0", "prod", "It is good.")
    (shown,) = gto.api.show(".", "toy#prod")
    assert (shown["version"], shown["commit_hexsha"]) == ("v1.10.0", revisions[1])
    gto.api.assign(".", "toy", stage="prod", version="v1.9.0")
    assert tags.in_stage("toy") == tags.find("toy", "v1.9.0")
    gto.api.unassign(".", "toy", stage="prod", version="v1.9.0")
    assert tags.in_stage("toy") == tags.find("toy", "v1.10.0")
    gto.api.deregister(".", "toy", version="v1.10.0")
    assert [version.version for version in tags.versions("toy")] == ["v1.9.0"]
    assert tags.in_stage("toy") is None


def test_tags_that_are_not_of_the_registry_are_passed_over(revisions: Revisions) -> None:
    git("tag", "toy@v9.0.0")  # not annotated: GTO does not know it either
    for name in ("toy@nonsense", "toy@v1", "toy#", "release"):
        git("tag", "--annotate", "--message", "Something else", name)
    assert tags.versions("toy") == []
    assert tags.in_stage("toy") is None


def test_what_gto_needs_of_git_is_told(revisions: Revisions) -> None:
    git("config", "user.email", "")
    with pytest.raises(UserError, match=r"GTO could not register v1.0.0: Failed to create tag \(.*email.*\)"):
        tags.register("toy", revisions[0], "v1.0.0", "The first.")


def test_the_branch_and_the_tags_of_the_project_are_pushed(revisions: Revisions, tmp_path: Path) -> None:
    git("init", "--quiet", "--bare", str(tmp_path / "origin"))
    with pytest.raises(UserError, match=r"`git push` failed: .*origin"):
        tags.push("toy")
    git("remote", "add", "origin", str(tmp_path / "origin"))
    register_both(revisions)
    tags.register("toy_plain", revisions[0], "v1.0.0", "Another project.")
    for _ in range(2):
        tags.push("toy")
        branch = git("symbolic-ref", "HEAD")
        there = {line.split()[1]: line.split()[0] for line in git("ls-remote", "origin").splitlines()}
        assert there[branch] == revisions[1]
        assert {name for name in there if not name.endswith("^{}")} - {"HEAD"} == {
            branch,
            *(f"refs/tags/{tag}" for tag in git("tag", "--list", "toy@*", "toy#*").split()),
        }
        tags.assign("toy", "v1.9.0", "prod", "It is good.")
