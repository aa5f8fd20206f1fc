"""Compares the workspace with a base revision and writes report.md, with its plots in report/, for who reviews the change.

python -m stages.report --base main
"""

from __future__ import annotations

import argparse
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import pandas as pd
from dvc.exceptions import DvcException  # type: ignore[import-untyped]
from dvc.repo import Repo  # type: ignore[import-untyped]

from stages.core.cli import UserError
from stages.core.files import Paths, read_json, write
from stages.projects._base import Project, load_project, project_names
from stages.promote import Proposal, consider, settled
from stages.promotion import ledger
from stages.promotion.cache import fetch_files
from stages.promotion.evidence import Model, contest, known_rows, load_terms, meet_champion, rows_trained_on, try_artifact
from stages.promotion.gate import Comparison
from stages.promotion.git import git, head, uncommitted
from stages.promotion.registry import Version, tree
from stages.review.plots import draw_plots
from stages.review.sides import Change, kinds_of_change, load_params_yaml, modules_of, read_side
from stages.review.text import markdown
from stages.review.workspace import check_workspace

REPORT, IMAGES = Path("report.md"), Path("report")


def resolve(base: str) -> str:
    """The full hash of the commit that a branch, tag or hash names."""
    try:
        return git("rev-parse", "--verify", "--end-of-options", f"{base}^{{commit}}")
    except UserError as error:
        raise UserError(f"--base {base}: {error}; name a branch, tag or commit that this clone has") from None


def outdated_stages() -> list[str]:
    """The stages of all projects that `dvc repro` would run."""
    try:
        with Repo() as repo:
            return list(repo.status())
    except DvcException as error:
        raise UserError(f"`dvc status` failed: {error}") from None


def meet_base(project: Project, base: Version) -> Comparison | str:
    """The workspace's model against the base's on the same test rows, compared as the gate does, or why they cannot be."""
    paths = Paths(project.name)
    if missing := [path for path in (paths.data / "test.parquet", paths.model / "manifest.json") if not path.exists()]:
        return f"{missing[0]} is missing"
    test, manifest = pd.read_parquet(paths.data / "test.parquet"), read_json(paths.model / "manifest.json")
    try:
        theirs = meet_champion(project, base, manifest, test)
    except UserError as error:
        return str(error)
    seen = rows_trained_on(project, base)
    known = None if seen is None else known_rows(project, seen, test)
    models = Model(manifest, try_artifact(project, paths.model, test)[0]), theirs
    found, _ = contest(project, load_terms(project.name), models, test, known, base.version)
    return found.partition(";")[0] if isinstance(found, str) else found  # what follows is advice to who promotes


def ask_gate(name: str, model: str) -> Proposal | str:
    """What the gate would decide on the workspace's model, which has this hash, or why it would not."""
    try:
        promotions = [entry for entry in ledger.read(name) if entry["event"] == "promotion"]
        return settled(name, promotions, model) or consider(name)
    except UserError as error:
        return str(error)


def examine(project: Project, base: Version, folder: Path, touched: set[str], outdated: list[str]) -> Change | None:
    """How a project differs from the base, whose tree lies in `folder`, or None. `touched` are the files that do; the stages
    that are `outdated` those of all projects.
    """
    name = project.name
    before, after = read_side(folder, name), read_side(Path(), name)
    code = sorted(modules_of((before, after)) & touched)
    kinds = kinds_of_change(name, before, after, code)
    if not kinds:
        return None
    reports = [f"reports/{name}/{file}" for file in ("data.json", "evaluation.json", "plots/")]
    shown = (f"models/{name}/manifest.json", *reports)
    with suppress(UserError):  # the report says what is missing
        fetch_files({path: digest for path, digest in before.outs.items() if path.startswith(shown)}, folder)
    return Change(
        project=project,
        before=read_side(folder, name),
        after=after,
        kinds=kinds,
        code=code,
        outdated=[stage for stage in outdated if stage.endswith(f"@{name}")],
        images=draw_plots(project, folder, IMAGES),
        comparison=meet_base(project, base) if "model" in kinds else "",
        gate=ask_gate(name, after.model),
    )


def main(base: str) -> None:
    revision, projects = resolve(base), project_names()
    check_workspace()
    outdated = outdated_stages()
    touched = set(git("diff", "--name-only", revision, "--", "stages").splitlines())
    shutil.rmtree(IMAGES, ignore_errors=True)
    with tree(revision) as folder:
        found = {
            name: examine(load_project(name), Version(name, base, revision), folder, touched, outdated) for name in projects
        }
        removed = sorted(load_params_yaml(folder).keys() - {"base", *projects})
    text = markdown((base, revision), (head(), uncommitted()), found, removed)
    write(REPORT, lambda path: path.write_text(text, encoding="utf-8"))
    print(f"{REPORT}: {', '.join(name for name in projects if found[name]) or 'no project'} differs from {base}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", default="main", help="the branch, tag or commit to compare with; main by default")
    try:
        main(**vars(parser.parse_args()))
    except UserError as error:
        sys.exit(str(error))
