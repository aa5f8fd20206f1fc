"""The READMEs are true: their links resolve, and every command is typed in a clone, or is in `NOT_TYPED` with the reason."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import fsspec
import httpx
import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from ruamel.yaml import YAML

from stages.projects._base import load_project, project_names
from tests.conftest import S3Server
from tests.samples import ROOT, raw_rows
from tests.serve.process import free_port

REAL_PROJECTS = True  # the READMEs name them
FOLDERS = ("stages", "serve", "tests")
READMES = [Path("README.md")]
READMES += sorted(path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("README.md"))
NOT_TYPED = {  # a pattern of the whole command, and why it is not typed
    r"make (test|test-quick|test-all|test-image|lint)": "it is a step of .ci/run, and the tests would start themselves",
    r"make (bench|verify|screenshots)|python -m tests\.benchmarks\..*": "it takes from minutes to hours, and other programs",
    r"make image|docker compose .*": "it needs Docker and its registry",
    r"make lock|(\.venv/bin/uv |)pip install .*": "it asks the package registry, and changes the environment of the tests",
    r"python3 -m venv .*|\.venv/bin/pre-commit install|apt-get install .*": "it changes the machine that the tests run on",
}
PROGRAMS = {"python", "dvc", "make", "git", "curl", "docker", "pip", "apt-get", ".venv/bin/uv", ".venv/bin/pre-commit"}
ASSIGNMENT = re.compile(r"\w+=\S*")
MODULE = re.compile(r"\bpython -m ((?:stages|serve|tests)\.[\w.]+)(.*)")
ADDRESS, S3_ADDRESS, DASK_PORT = "127.0.0.1:8000", "http://127.0.0.1:9000", "8786"  # as the READMEs write them
PREDICTION = "0199b2c4-5e0f-7d1a-8c3e-2f6a1b9d4e70"
CODES = {"stages.promote": {0, 3}, "stages.drift": {0, 3, 4}, "stages.retrain": {0, 3}}  # what else is no failure
LOGGED = 150  # predictions of each project that the server made before a command asks for its log


@dataclass
class Block:
    """Commands that are typed one after another: those of a fence, of a row of a table or of a paragraph."""

    readme: Path
    commands: list[str] = field(default_factory=list)


@cache
def tokens(readme: Path) -> tuple[Token, ...]:
    return tuple(MarkdownIt().enable("table").parse((ROOT / readme).read_text()))


def commands_of(script: str) -> list[str]:
    """The commands of a fence, without comments: a line each, or more where a quote or a backslash continues it."""
    found, waiting = [], ""
    for line in script.splitlines():
        code = re.sub(r"(^|\s+)# .*$", "", line)
        waiting = f"{waiting}\n{code}".strip()
        with suppress(ValueError):  # an open quote
            if not waiting.endswith("\\") and shlex.split(waiting):
                found.append(waiting)
                waiting = ""
    assert not waiting, f"cut short: {waiting}"
    return found


def is_command(code: str) -> bool:
    """Whether code in a sentence or a table is a command: a known program with an argument."""
    words = code.split()
    while words and ASSIGNMENT.fullmatch(words[0]):
        words.pop(0)
    return len(words) > 1 and words[0] in PROGRAMS


@cache
def blocks() -> tuple[Block, ...]:
    """All commands of all READMEs, the first page first, in their order."""
    found = []
    for readme in READMES:
        block = Block(readme)
        for token in tokens(readme):
            if token.type == "fence" and token.info == "sh":
                found.append(Block(readme, commands_of(token.content)))
            elif token.type in ("tr_open", "paragraph_open"):
                block = Block(readme)
                found.append(block)
            elif token.type == "inline":
                codes = (child.content for child in token.children or () if child.type == "code_inline")
                block.commands += [code for code in codes if is_command(code)]
    return tuple(block for block in found if block.commands)


def all_commands() -> list[str]:
    return [command for block in blocks() for command in block.commands]


def reason_not_typed(command: str) -> str | None:
    return next((reason for pattern, reason in NOT_TYPED.items() if re.fullmatch(pattern, command)), None)


def slugs(readme: Path) -> set[str]:
    """The anchors that GitHub gives the headings."""
    found = tokens(readme)
    titles = (text.content for head, text in pairwise(found) if head.type == "heading_open")
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("readme", READMES, ids=str)
def test_links_lead_to_files_and_headings_that_there_are(readme: Path) -> None:
    parts = [child for token in tokens(readme) for child in token.children or ()]
    links = [str(part.attrs.get("href") or part.attrs.get("src")) for part in parts if part.type in ("link_open", "image")]
    broken = []
    for link in links:
        path, _, anchor = link.partition("#")
        target = Path(os.path.normpath(readme.parent / path)) if path else readme
        if "://" in link:
            continue
        target = target / "README.md" if (ROOT / target).is_dir() else target
        if not (ROOT / target).exists() or (anchor and anchor not in slugs(target)):
            broken.append(link)
    assert broken == []


def test_every_readme_that_there_is_can_be_reached_from_the_first_page() -> None:
    reached, waiting = set(), {Path("README.md")}
    while waiting:
        readme = waiting.pop()
        reached.add(readme)
        parts = [child for token in tokens(readme) for child in token.children or () if child.type == "link_open"]
        paths = {Path(os.path.normpath(readme.parent / str(part.attrs["href"]).partition("#")[0])) for part in parts}
        paths |= {path / "README.md" for path in paths}
        waiting |= (paths & set(READMES)) - reached
    assert set(READMES) - reached == set()


def test_what_is_not_typed_is_in_a_readme_and_the_rest_is_of_known_programs() -> None:
    commands = all_commands()
    assert [pattern for pattern in NOT_TYPED if not any(re.fullmatch(pattern, command) for command in commands)] == []
    typed = [command for command in commands if not reason_not_typed(command)]
    firsts = {next(word for word in shlex.split(command) if not ASSIGNMENT.fullmatch(word)) for command in typed}
    assert {first for first in firsts if shutil.which(first, path=search_path()) is None} <= {"source", "export", "cd"}


def test_commands_name_targets_modules_and_extras_that_there_are() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for command in all_commands():
        if match := MODULE.search(command):
            name, file = match[1], ROOT / f"{match[1].replace('.', '/')}.py"
            assert file.exists() or find_spec(f"{name}.__main__"), command
        for extra in re.findall(r"--extra (\S+)", command):
            assert extra in extras, command
        if target := re.search(r"\bmake ([\w-]+)", command):
            done = subprocess.run(["make", "--dry-run", target[1]], cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, f"{command}: {done.stderr}"


def test_an_experiment_runs_outside_the_workspace_so_that_the_next_one_does_not_build_on_it() -> None:
    experiments = [command for command in all_commands() if command.startswith("dvc exp run")]
    assert experiments
    assert [command for command in experiments if not {"--temp", "--queue"} & set(shlex.split(command))] == []


@pytest.mark.slow
def test_options_that_commands_give_a_script_are_in_its_help() -> None:
    used: dict[str, set[str]] = {}
    for command in all_commands():
        if (match := MODULE.search(command)) and not match[1].startswith("tests."):
            used.setdefault(match[1], set()).update(re.findall(r"(?<!\S)--[a-z-]+", match[2]))
    assert used
    for module, options in used.items():
        if options:
            done = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, text=True)
            assert options <= set(re.findall(r"--[a-z-]+", done.stdout)), f"{module}: {done.stdout}{done.stderr}"


def search_path() -> str:
    return f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


SMALL: dict[str, Any] = {  # by key of params.yaml, whatever block it is in
    "sources": ["simulate?rows=1500"], "folds": 2, "resamples": 100, "learning_curve": [0.5], "rows": 40, "repeats": 1,
    "n_estimators": 5, "max_iter": 20, "promote": {"max_ece": 0.9, "coverage_tolerance": 0.9, "latency_ms": 1000},
}  # fmt: skip


def shrunk(block: dict[str, Any]) -> dict[str, Any]:
    """A block of params.yaml with all its keys, and values that make the stages quick and the gate lenient."""
    small = {key: shrunk(value) if isinstance(value, dict) else SMALL.get(key, value) for key, value in block.items()}
    return deepcopy(small | {key: value for key, value in SMALL.items() if isinstance(value, dict) and key in block})


def copy_repository(folder: Path) -> None:
    """The files that the commands need, with small params, in this environment; as a commit of `main`."""
    for name in ("stages", "serve", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    names = ("dvc.yaml", "Makefile", "pyproject.toml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore")
    for name in (*names, *(path.name for path in ROOT.glob("requirements*.lock"))):
        (folder / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    with (folder / "params.yaml").open("w") as file:
        YAML().dump(shrunk(YAML(typ="safe").load((ROOT / "params.yaml").read_text())), file)
    (folder / ".venv").symlink_to(sys.prefix)


def wait_for(condition: Callable[[], bool], seconds: float = 600) -> None:
    """Return once the condition holds; RuntimeError when it does not in this time. The server may not listen yet."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with suppress(httpx.TransportError):
            if condition():
                return
        time.sleep(0.2)
    raise RuntimeError(f"it took more than {seconds:g} s")


class Reader:
    """Types what the READMEs say into a clone, in a shell, and serves it when a command asks a server."""

    def __init__(self, folder: Path, s3: S3Server) -> None:
        self.folder, self.s3, self.port, self.dask = folder / "clone", s3, free_port(), free_port()
        self.behind: list[subprocess.Popen[bytes]] = []
        self.log = folder / "background.log"
        self.output = self.log.open("wb")
        self.failures: list[str] = []
        (folder / ".curlrc").write_text("fail-with-body\n")
        foreign = ("COV", "GITHUB", "AWS", "SERVE_", "VERITABLE_", "DASK", "PYTHONPATH", "MAKE")
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith(foreign)} | s3.credentials
        self.environment |= {
            f"GIT_{role}_{part}": "reader@example.org" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")
        }
        self.environment |= {
            "PATH": search_path(),
            "CURL_HOME": str(folder),
            "UVICORN_PORT": str(self.port),
            "SERVE_ADMIN_TOKEN": "at-least-16-characters",
        }

    def shell(self, script: str, codes: Collection[int] = (0,)) -> str:
        """What a script prints; RuntimeError with that where it ends with another code."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        if done.returncode not in codes:
            raise RuntimeError(f"{script}\nended with {done.returncode}:\n{done.stdout[-3000:]}")
        return done.stdout

    def prepare(self) -> None:
        """A committed clone of a bare `origin`, with the outputs of all projects."""
        copy_repository(self.folder)
        self.shell("git init --quiet --bare --initial-branch main ../origin.git; git init --quiet --initial-branch main")
        self.shell("echo .venv >> .git/info/exclude; git remote add origin ../origin.git; git add .; git commit -qm Begin")
        self.shell(self.translated("make repro"))
        self.shell("dvc remote add --quiet --default shared ../remote")
        self.shell("git add .; git commit -qm 'Run it'; git push -q origin main")

    def tidy(self) -> None:
        """Bring the workspace back to the last commit: each block starts from there."""
        for path in (".dvc/config.local", "reports/bankchurn/tune.db"):
            (self.folder / path).unlink(missing_ok=True)
        if self.shell("git status --porcelain --untracked-files=no"):
            self.shell("git reset --quiet --hard; dvc checkout --quiet --force")

    def translated(self, command: str) -> str:
        """The command with the addresses of this test, and fewer trials."""
        command = command.replace(ADDRESS, f"127.0.0.1:{self.port}").replace(S3_ADDRESS, self.s3.url)
        command = command.replace(DASK_PORT, str(self.dask)).replace("--trials 50", "--trials 4")
        if PREDICTION in command:
            listed = httpx.get(f"http://127.0.0.1:{self.port}/v1/bankchurn/predictions?limit=1").raise_for_status().json()
            command = command.replace(PREDICTION, listed["predictions"][0]["prediction_id"])
        locked = " ".join(f"-o .venv/{name}" for name in ("locked", "locked-dev"))  # the environment is this test's own
        return re.sub(r"\bmake ", f"make {locked} ", command)

    def provide(self, command: str) -> None:
        """The files that a command reads, of simulated rows that differ from the training rows."""
        names = re.search(r"stages\.(?:drift|retrain|score) (\w+)(?: --batch)? (\S+\.(?:csv|parquet))", command)
        names = names or re.search(r"(\w+)\.ingest\.sources=\[\$PWD/([^\]]+\.csv)\]", command)
        if names and not (path := self.folder / names[2]).exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            shift = "covariate" if "--batch" in command else None
            rows = 500 if "ingest.sources" in command else 1500  # a Gaussian process takes minutes for more
            frame = raw_rows(names[1], rows, seed=7, shift=shift)
            frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)

    def serve(self) -> None:
        """Start the server, if it does not run, and let it log some predictions."""
        url = f"http://127.0.0.1:{self.port}"
        with suppress(httpx.TransportError):
            httpx.get(f"{url}/health")
            return
        self.start("make serve")
        wait_for(lambda: httpx.get(f"{url}/ready").is_success)
        for name in project_names():
            body = {"rows": [load_project(name).example_row] * LOGGED}
            httpx.post(f"{url}/v1/{name}/predict/batch", json=body, timeout=60).raise_for_status()

    def start(self, command: str) -> None:
        """Leave a command running until the end."""
        arguments = ["bash", "-c", self.translated(command)]
        popen: Any = subprocess.Popen(
            arguments, cwd=self.folder, env=self.environment, stdout=self.output, stderr=self.output, start_new_session=True
        )
        self.behind.append(popen)
        if "dask worker" in command:
            wait_for(lambda: b"Registered to" in self.log.read_bytes())

    def type(self, command: str, before: str) -> None:
        """Type a command, after those that set the shell up; RuntimeError where it fails."""
        self.provide(command)
        if ADDRESS in command or PREDICTION in command or "serve.log" in command or "make serve" in command:
            self.serve()
        if "make serve" in command:
            return
        if command.endswith("&"):
            self.start(command.removesuffix("&"))
            return
        module = MODULE.search(command)
        self.shell(before + self.translated(command), CODES.get(module[1], {0}) if module else {0})
        if "exp run" in command:
            self.shell("git diff --exit-code -- params.yaml")
        if "queue start" in command:
            wait_for(lambda: not re.search("Queued|Running", self.shell("dvc queue status")))

    def follow(self, block: Block) -> None:
        """Type the commands of a block. One that fails ends it."""
        self.tidy()
        before = ""
        for command in block.commands:
            if reason_not_typed(command):
                continue
            try:
                self.type(command, before)
            except (RuntimeError, httpx.HTTPError) as error:
                self.failures.append(f"{block.readme}: {command}\n{error}")
                return
            if command.split()[0] in ("export", "source", "cd"):
                before += f"{command}\n"

    def stop(self) -> None:
        """End what runs."""
        for process in self.behind:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)
        self.output.close()
        if self.folder.exists():
            self.shell("dvc queue stop --kill --quiet", {0, 1, 255})


@pytest.fixture
def reader(tmp_path: Path, s3: S3Server) -> Iterator[Reader]:
    reader = Reader(tmp_path, s3)
    fsspec.filesystem("s3", endpoint_url=s3.url, key="test", secret="test").mkdir("bucket")
    yield reader
    reader.stop()


def gone_projects() -> set[str]:
    """Projects that the first page lists and that somebody removed: their commands went with them."""
    listed = re.findall(r"^\| `(\w+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    return set(listed) - set(project_names())


@pytest.mark.long
def test_every_command_works_when_it_is_typed_in_the_order_of_the_page(reader: Reader) -> None:
    reader.prepare()
    typed: set[str] = set()
    for block in blocks():
        if not typed.issuperset(block.commands) and not any(name in " ".join(block.commands) for name in gone_projects()):
            reader.follow(block)
            typed.update(block.commands)
    assert not reader.failures, "\n\n".join(reader.failures)
    assert len(typed) > 20
