from __future__ import annotations

import os
import re
import shlex
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from serve.models.history import read_history
from serve.models.loader import load_model
from serve.settings import Settings
from stages import deploy, promote
from stages.core.cli import UserError
from stages.core.files import read_json, write_json
from stages.promotion import checkout, installation, ledger, tags
from stages.promotion.git import git, head
from stages.promotion.lock import lock_at
from stages.promotion.workspace import check_model
from stages.runtime.identity import md5, outputs
from tests import toys
from tests.clones import run
from tests.samples import ROOT
from tests.serve.process import Server
from tests.stages.answers import Answers

MODEL, REPORTS = Path("models/toy"), Path("reports/toy")
FOREIGN, FIRST, SECOND = "v0.9.0", "v1.0.0", "v1.1.0"
RELOAD = "POST /v1/toy/reload"


@pytest.fixture(autouse=True)
def registered(revisions: tuple[str, str]) -> None:
    """Three versions. FOREIGN was made by other code than is checked out, FIRST is in prod, SECOND is in the workspace."""
    manifest, lock = MODEL / "manifest.json", Path("dvc.lock")
    before = md5(manifest)
    write_json(manifest, read_json(manifest) | {"rows": 7})
    cached = Path(".dvc/cache/files/md5", md5(manifest)[:2], md5(manifest)[2:])
    cached.parent.mkdir(exist_ok=True)
    shutil.copy(manifest, cached)
    lock.write_text(lock.read_text().replace(before, md5(manifest)))
    git("commit", "--quiet", "--all", "--message", "Another model by the same code")
    for revision, version in zip((*revisions, head()), (FOREIGN, FIRST, SECOND), strict=True):
        tags.register("toy", revision, version, f"It is {version}.")
    tags.assign("toy", FIRST, "prod", "It is good.")


def deploy_toy(**arguments: Any) -> None:
    defaults = {"stage": "prod", "version": None, "reason": "", "push": False, "server": None, "to": None}
    deploy.main("toy", **(defaults | arguments))


def hash_of(version: str) -> str:
    return checkout.model_hash_at("toy", tags.find("toy", version).revision)


def assert_deployed(version: str, root: Path = Path()) -> None:
    """Exactly the files of a version are in models/ and reports/ of a root, and nothing is left beside them."""
    files = checkout.files_at("toy", tags.find("toy", version).revision)
    assert {path: md5(root / path) for path in files} == files
    assert {path.name for path in (root / MODEL).iterdir()} == {
        Path(path).name for path in files if path.startswith("models/")
    } | {"deployment.json"}
    assert read_json(root / MODEL / "deployment.json")["version"] == version
    assert [path for path in (root / "models").iterdir() if path.name.startswith(".")] == []


def deployments() -> list[dict[str, Any]]:
    return [entry for entry in ledger.read("toy") if entry["event"] == "deployment"]


def snapshot() -> dict[str, int]:
    folders = MODEL, REPORTS
    return {str(path): path.stat().st_mtime_ns for folder in folders for path in [folder, *folder.rglob("*")]}


def test_the_version_in_prod_takes_the_place_of_the_model_in_the_workspace(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = (REPORTS / "metrics.json").read_bytes()
    assert hash_of(FIRST) != hash_of(SECOND)
    deploy_toy()
    assert_deployed(FIRST)
    found = tags.find("toy", FIRST)
    recorded = outputs(lock_at(found.revision))
    assert read_json(MODEL / "deployment.json") == {
        "version": FIRST,
        "stage": "prod",
        "revision": found.revision,
        "hash": hash_of(FIRST),
        "files": {Path(path).name: digest for path, digest in recorded.items() if path.startswith("models/")},
    }
    assert (REPORTS / "metrics.json").read_bytes() == metrics, "it is in Git, not in DVC's cache"
    assert MODEL.stat().st_mode & 0o777 == 0o755, "a server of another user must be able to read it"
    assert f"v1.0.0 ({hash_of(FIRST)[:12]}) is now in models/toy" in capsys.readouterr().out


def test_a_deployment_is_noted_in_the_ledger_and_committed_alone() -> None:
    Path("stages/promotion/ledger.py").write_text(Path("stages/promotion/ledger.py").read_text() + "# changed\n")
    git("add", "stages/promotion/ledger.py")
    deploy_toy(reason="It was  tried\nlong enough.")
    (entry,) = deployments()
    assert {key: entry[key] for key in entry.keys() - {"time"}} == {
        "event": "deployment",
        "by": "Tess Tester",
        "reason": "It was tried long enough.",
        "version": FIRST,
        "stage": "prod",
        "revision": tags.find("toy", FIRST).revision,
        "hash": hash_of(FIRST),
        "previous": {"version": None, "hash": hash_of(SECOND)},
    }
    assert git("show", "--format=%s", "--name-only").split("\n") == [
        "Deploy toy v1.0.0 to prod", "", "reports/toy/ledger.jsonl",
    ]  # fmt: skip


def test_deploying_what_is_there_says_so_and_changes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    deploy_toy()
    before, commit, tags = snapshot(), head(), git("tag")
    shutil.rmtree(".dvc/cache")  # what is there need not be fetched
    deploy_toy()
    deploy_toy(version=FIRST)
    assert (snapshot(), head(), git("tag")) == (before, commit, tags)
    assert capsys.readouterr().out.count("was already in models/toy") == 2


def test_a_model_promoted_from_this_workspace_is_only_marked() -> None:
    tags.assign("toy", SECOND, "prod", "It is better.")
    deploy_toy()
    deploy_toy()
    assert_deployed(SECOND)
    (entry,) = deployments()
    assert (entry["version"], entry["previous"]) == (SECOND, {"version": None, "hash": None})


def test_a_rollback_gives_prod_back_to_the_older_version_and_is_in_the_ledger() -> None:
    deploy_toy()
    tags.assign("toy", SECOND, "prod", "It is better.")
    deploy_toy()
    deploy_toy(version=FIRST, reason="The second is wrong about light parcels.")
    assert tags.in_stage("toy") == tags.find("toy", FIRST)
    assert_deployed(FIRST)
    assert git("for-each-ref", "--format=%(contents)", "refs/tags/toy#prod#3") == "The second is wrong about light parcels."
    entry = deployments()[-1]
    assert (entry["version"], entry["reason"]) == (FIRST, "The second is wrong about light parcels.")
    assert entry["previous"] == {"version": SECOND, "hash": hash_of(SECOND)}
    assert [each["version"] for each in deployments()] == [FIRST, SECOND, FIRST]


def test_a_stage_that_moves_back_to_the_installed_model_is_in_the_ledger() -> None:
    deploy_toy()
    tags.assign("toy", SECOND, "prod", "It is better.")
    before = snapshot()
    deploy_toy(version=FIRST)
    assert tags.in_stage("toy") == tags.find("toy", FIRST)
    assert [entry["reason"] for entry in deployments()] == ["v1.0.0 holds prod.", "v1.0.0 was asked for."]
    assert {path for path, time in snapshot().items() if before.get(path) != time} <= {
        "reports/toy", "reports/toy/ledger.jsonl",
    }  # fmt: skip


def test_another_folder_gets_the_version_for_a_server_and_the_workspace_keeps_its_model(
    repository: Path, tmp_path: Path
) -> None:
    before, live = snapshot(), tmp_path / "new" / "live"
    deploy_toy(to=live)
    changed = {path for path, time in snapshot().items() if before.get(path) != time}
    assert changed == {"reports/toy", "reports/toy/ledger.jsonl"}
    assert git("status", "--porcelain") == ""
    check_model("toy")
    assert_deployed(FIRST, live)
    with toys.known(repository / "stages" / "projects"):
        model = load_model("toy", Settings(root=live))
    assert (model.version, model.stage, model.hash) == (FIRST, "prod", hash_of(FIRST))
    assert model.revision == tags.find("toy", FIRST).revision
    assert model.card == (live / REPORTS / "card.md").read_text() != ""
    (event,) = read_history("toy", live)
    assert (event.event, event.version, event.details["root"]) == ("deployment", FIRST, str(live))


def test_each_folder_is_deployed_to_and_noted_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for root in (one, two, tmp_path / "two" / ".." / "one"):
        deploy_toy(to=root)
    assert re.findall(r"\) (.*) in ", capsys.readouterr().out) == ["is now", "is now", "was already"]
    assert_deployed(FIRST, two)
    deploy_toy(to=one, version=SECOND)
    assert_deployed(SECOND, one)
    assert_deployed(FIRST, two)
    first = {"version": FIRST, "hash": hash_of(FIRST)}
    assert [(entry["root"], entry["version"], entry["previous"]) for entry in deployments()] == [
        (str(one), FIRST, {"version": None, "hash": None}),
        (str(two), FIRST, {"version": None, "hash": None}),
        (str(one), SECOND, first),
    ]
    ledger.append("toy", {"event": "drift", "by": "Tess Tester", "reason": "It was checked."})
    deploy_toy(to=one)
    assert len(deployments()) == 3
    assert (one / REPORTS / "ledger.jsonl").read_bytes() == (REPORTS / "ledger.jsonl").read_bytes()


def test_a_checkout_or_what_is_no_folder_is_not_deployed_to(tmp_path: Path) -> None:
    before, commit = snapshot(), head()
    with pytest.raises(UserError, match=r"^\. is a checkout, where training writes, too: .* without --to$"):
        deploy_toy(to=Path(), version=SECOND)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/models cannot be written \(Not a directory\)"):
        deploy_toy(to=tmp_path / "file", version=SECOND)
    assert (snapshot(), head(), tags.in_stage("toy")) == (before, commit, tags.find("toy", FIRST))


def test_the_model_that_a_deployment_replaced_comes_back_by_the_command_that_it_prints(
    repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    deploy_toy()
    said = capsys.readouterr().out.splitlines()[1]
    assert said.startswith(f"toy: it replaced the model that dvc.lock records ({hash_of(SECOND)[:12]}); `dvc checkout ")
    with pytest.raises(UserError, match=r"^models/toy holds v1\.0\.0, which `stages\.deploy` installed there") as refusal:
        promote.main("toy")
    for text in (said, str(refusal.value)):
        deploy_toy(version=FIRST)
        (command,) = re.findall("`(dvc .*?)`", text)
        run(repository, *shlex.split(command))
        check_model("toy")
        recorded = checkout.files_at("toy", head())
        assert {path: md5(Path(path)) for path in recorded} == recorded


def test_the_training_rows_among_the_reports_of_an_older_version_are_not_fetched() -> None:
    lock = Path("dvc.lock")
    lock.write_text(lock.read_text().replace("reports/toy/synthetic.json", "reports/toy/samples.json"))
    git("commit", "--quiet", "--all", "--message", "As an older version recorded it")
    tags.register("toy", head(), "v1.2.0", "It is older.")
    assert (REPORTS / "synthetic.json").exists()
    deploy_toy(version="v1.2.0")
    assert_deployed("v1.2.0")
    assert not (REPORTS / "samples.json").exists()
    assert not (REPORTS / "synthetic.json").exists(), "those rows and percentiles are of another version"


def test_another_stage_is_deployed_by_its_name() -> None:
    tags.assign("toy", SECOND, "staging", "To try it.")
    deploy_toy(stage="staging")
    assert_deployed(SECOND)
    assert tags.in_stage("toy") == tags.find("toy", FIRST)
    assert deployments()[-1]["stage"] == "staging"


def test_a_model_trained_since_and_a_broken_record_are_replaced() -> None:
    deploy_toy()
    (MODEL / "manifest.json").write_text("{}")
    deploy_toy()
    assert_deployed(FIRST)
    assert deployments()[-1]["previous"]["version"] is None
    (MODEL / "deployment.json").write_text("{")
    deploy_toy()
    assert_deployed(FIRST)
    (REPORTS / "card.md").unlink()
    deploy_toy()
    assert_deployed(FIRST)
    assert len(deployments()) == 2, "only the first two times another model was there"


def test_without_a_version_to_deploy_nothing_is_touched() -> None:
    before = snapshot()
    with pytest.raises(UserError, match=r"no version holds staging: `python -m stages.promote toy`"):
        deploy_toy(stage="staging")
    with pytest.raises(UserError, match=r"no version 'v7.0.0' is registered; there is v1.1.0, v1.0.0, v0.9.0"):
        deploy_toy(version="v7.0.0")
    assert snapshot() == before


def test_a_version_whose_files_are_lost_moves_neither_model_nor_stage() -> None:
    deploy_toy()
    files = checkout.files_at("toy", tags.find("toy", SECOND).revision)
    digest = files["models/toy/manifest.json"]
    Path(".dvc/cache/files/md5", digest[:2], digest[2:]).unlink()
    before, commit = snapshot(), head()
    with pytest.raises(UserError, match=r"models/toy/manifest.json with MD5 .* was not found"):
        deploy_toy(version=SECOND)
    assert tags.in_stage("toy") == tags.find("toy", FIRST)
    assert (snapshot(), head()) == (before, commit)
    assert_deployed(FIRST)


def test_a_version_that_the_code_here_would_score_otherwise_moves_neither_model_nor_stage() -> None:
    deploy_toy()
    before = snapshot()
    with pytest.raises(UserError, match=r"v0.9.0 does not work with the code .*: a known row gets 0\.\d+ instead of 0\."):
        deploy_toy(version=FOREIGN)
    assert snapshot() == before
    module = Path("stages/projects/toy.py")
    module.write_text(module.read_text().replace('"weekday": ', '"day": '))
    with pytest.raises(UserError, match=r"does not work with .*: `python -m stages.score` failed .*: KeyError: 'weekday'\."):
        deploy_toy(version=FOREIGN)
    assert_deployed(FIRST)
    assert tags.in_stage("toy") == tags.find("toy", FIRST)
    git("checkout", "--quiet", "toy@v0.9.0", "--", "stages")
    deploy_toy(version=FOREIGN)
    assert_deployed(FOREIGN)


def interrupt(patch: pytest.MonkeyPatch, at: int, stop: Callable[[], None]) -> None:
    """Call `stop` before the step of this number: a rename, a folder's removal, a tag, a line in the ledger, its commit."""
    steps = iter(range(1_000))

    def counted(original: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            if next(steps) == at:
                stop()
            return original(*args, **kwargs)

        return step

    for place, name in (
        (Path, "rename"), (Path, "replace"), (shutil, "rmtree"),
        (tags, "assign"), (ledger, "append"), (ledger, "commit"),
    ):  # fmt: skip
        patch.setattr(place, name, counted(getattr(place, name)))


def in_child(work: Callable[[], None]) -> int:
    """The exit code of a process that does this work."""
    if not (child := os.fork()):
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(("killed", "to"), [(True, None), (False, Path("../live"))])
def test_a_deployment_that_is_interrupted_anywhere_ends_right_when_it_is_started_again(
    killed: bool, to: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(installation, "check_code", lambda fetched, wanted: None)  # it takes longest and changes nothing

    def stop() -> None:
        if killed:
            os._exit(9)
        raise KeyboardInterrupt

    def attempt() -> None:
        with pytest.MonkeyPatch.context() as patch:
            interrupt(patch, at, stop)
            deploy_toy(version=target, to=to)

    deploy_toy(to=to)
    root = to or Path()
    model = root / MODEL
    files = len(list(model.iterdir()))
    target, other, gone = SECOND, FIRST, 0
    for at in range(100):
        if (code := in_child(attempt)) == 0:
            break
        assert code == (9 if killed else 1)
        gone += not model.exists()
        assert not model.exists() or len(list(model.iterdir())) == files
        deploy_toy(version=target, to=to)
        assert_deployed(target, root)
        assert tags.in_stage("toy") == tags.find("toy", target)
        entry = deployments()[-1]
        assert (entry["version"], entry["hash"]) == (target, hash_of(target))
        assert entry["previous"] == {"version": other, "hash": hash_of(other)}
        assert len(deployments()) == len(git("tag", "--list", "toy#prod#*").split()) == at + 2
        assert git("status", "--porcelain", "reports") == ""
        assert (root / REPORTS / "ledger.jsonl").read_bytes() == (REPORTS / "ledger.jsonl").read_bytes()
        target, other = other, target
    assert at > 12
    assert gone == killed, "between the two renames only a process that is killed leaves no model"


def test_branch_and_tags_are_pushed_on_request(tmp_path: Path) -> None:
    git("init", "--quiet", "--bare", str(tmp_path / "origin"))
    git("remote", "add", "origin", str(tmp_path / "origin"))
    deploy_toy()
    assert git("ls-remote", "origin") == ""
    deploy_toy(push=True)
    there = git("ls-remote", "origin")
    assert head() in there
    assert "refs/tags/toy#prod#1" in there


def test_the_server_is_asked_to_load_it_each_time(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERITABLE_ADMIN_TOKEN", "secret")
    answers.given[RELOAD] = (200, {"hash": hash_of(FIRST)})
    for _ in range(2):
        deploy_toy(server=f"{answers.url}/")
    assert [asked for asked, _ in answers.asked] == [RELOAD] * 2
    assert {headers["Authorization"] for _, headers in answers.asked} == {"Bearer secret"}


@pytest.mark.slow
def test_servers_serve_what_is_deployed_into_their_folder_within_five_seconds(repository: Path, tmp_path: Path) -> None:
    live = tmp_path / "live"
    deploy_toy(to=live)
    only = {"SERVE_PROJECTS": '["toy"]', "PYTHONPATH": f"{repository}:{ROOT}"}
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with Server(live, tmp_path / "one", **only) as one, Server(live, tmp_path / "two", **only) as two:

        def serve_within_five_seconds(version: str) -> None:
            deadline = time.monotonic() + 5
            while {httpx.get(f"{server.url}/v1/toy").json()["version"] for server in (one, two)} != {version}:
                assert time.monotonic() < deadline, one.output.read_text()
                time.sleep(0.1)

        serve_within_five_seconds(FIRST)
        deploy_toy(version=SECOND, to=live)
        serve_within_five_seconds(SECOND)
        assert httpx.get(f"{one.url}/v1/toy/card").status_code == 200, "its reports were there when it was loaded"
        deploy_toy(version=FIRST, to=live)
        serve_within_five_seconds(FIRST)


def test_a_server_that_refuses_is_quoted(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERITABLE_ADMIN_TOKEN", "secret")
    answers.given[RELOAD] = (409, {"detail": "models/toy: scores a known row wrongly. What served before still serves."})
    with pytest.raises(UserError, match=r"answered 409: models/toy: scores a known row wrongly\. What served before"):
        deploy_toy(server=answers.url)
    assert_deployed(FIRST)


def test_a_server_that_loads_another_model_is_told_apart(answers: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VERITABLE_ADMIN_TOKEN", "secret")
    answers.given[RELOAD] = (200, {"hash": hash_of(SECOND)})
    with pytest.raises(UserError, match=f"serves {hash_of(SECOND)}, not {hash_of(FIRST)}"):
        deploy_toy(server=answers.url)


def test_a_server_is_not_asked_without_the_token(answers: Answers) -> None:
    with pytest.raises(UserError, match="VERITABLE_ADMIN_TOKEN is not set"):
        deploy_toy(server=answers.url)
    assert answers.asked == []
    assert_deployed(FIRST)


def test_the_command_takes_the_server_from_the_environment(
    repository: Path, answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERITABLE_ADMIN_TOKEN", "secret")
    monkeypatch.setenv("VERITABLE_SERVER", answers.url)
    answers.given[RELOAD] = (200, {"hash": hash_of(SECOND)})
    printed = run(repository, "python", "-m", "stages.deploy", "toy", "--version", SECOND, "--reason", "It is better.")
    assert printed.splitlines() == [
        f"toy: v1.1.0 ({hash_of(SECOND)[:12]}) is now in models/toy",
        f"toy: {answers.url} serves it",
    ]
    assert deployments()[-1]["reason"] == "It is better."
