"""What a reviewer needs to know of each project that differs from a base revision."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from stages.core.cli import UserError
from stages.core.files import Paths, read_json, read_parquet
from stages.projects._base import Project
from stages.promotion.cache import fetch_files
from stages.promotion.code_changes import changed_code, read_code
from stages.promotion.evidence import Model, contest, known_rows, load_terms, meet_champion, rows_trained_on, try_artifact
from stages.promotion.gate import Comparison
from stages.promotion.git import git
from stages.promotion.proposal import Proposal, propose, settled
from stages.promotion.record import promotions
from stages.promotion.tags import Version
from stages.review.plots import draw_plots
from stages.review.snapshots import Snapshot, kinds_of_change, read_snapshot


@dataclass(frozen=True)
class Change:
    """A project that differs from the base, in `kinds` of things and, of its code, in what `code` names. A comparison or
    proposal that could not be made is the reason in words, empty where none was needed. `images` are paths of plots by
    title.
    """

    project: Project
    before: Snapshot
    after: Snapshot
    kinds: list[str]
    code: list[str]
    outdated: list[str]
    images: dict[str, Path]
    comparison: Comparison | str
    gate: Proposal | str


def resolve_base(base: str) -> str:
    """The full hash of the commit that a branch, tag or hash names."""
    try:
        return git("rev-parse", "--verify", "--end-of-options", f"{base}^{{commit}}")
    except UserError as error:
        raise UserError(f"--base {base}: {error}; name a branch, tag or commit that this clone has") from None


def examine_project(project: Project, base: Version, folder: Path, outdated: list[str], images: Path) -> Change | None:
    """How a project differs from the base, whose tree is in `folder`, or None; plots go to `images`. `outdated` are the
    stages of all projects that `dvc repro` would run.
    """
    name = project.name
    before, after = read_snapshot(folder, name), read_snapshot(Path(), name)
    code = changed_code(read_code(folder, before.code), read_code(Path(), after.code))
    kinds = kinds_of_change(name, before, after, code)
    if not kinds:
        return None
    reports = [f"reports/{name}/{file}" for file in ("data.json", "evaluation.json", "plots/")]
    shown = (f"models/{name}/manifest.json", *reports)
    with suppress(UserError):  # the report says what is missing
        fetch_files({path: digest for path, digest in before.outs.items() if path.startswith(shown)}, folder)
    return Change(
        project=project,
        before=read_snapshot(folder, name),
        after=after,
        kinds=kinds,
        code=code,
        outdated=[stage for stage in outdated if stage.endswith(f"@{name}")],
        images=draw_plots(project, folder, images),
        comparison=compare_with_base(project, base) if "model" in kinds else "",
        gate=ask_gate(name, after.model),
    )


def compare_with_base(project: Project, base: Version) -> Comparison | str:
    """The workspace's model against the base's on the same test rows, compared as the gate does, or why they cannot be."""
    paths = Paths(project.name)
    if missing := [path for path in (paths.data / "test.parquet", paths.model / "manifest.json") if not path.exists()]:
        return f"{missing[0]} is missing"
    test, manifest = read_parquet(paths.data / "test.parquet"), read_json(paths.model / "manifest.json")
    try:
        theirs = meet_champion(project, base, manifest, test)
    except UserError as error:
        return str(error)
    seen = rows_trained_on(project, base)
    known = None if seen is None else known_rows(project, seen, test)
    models = Model(manifest, try_artifact(project, paths.model, test)[0]), theirs
    found, _ = contest(project, load_terms(project.name), models, test, known, base.version)
    return found.partition(";")[0] if isinstance(found, str) else found  # what follows is advice for who promotes


def ask_gate(name: str, model: str) -> Proposal | str:
    """What the gate would decide on the workspace's model, which has this hash, or why it would not."""
    try:
        return settled(name, promotions(name), model) or propose(name)
    except UserError as error:
        return str(error)
