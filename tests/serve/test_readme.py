"""The tables of serve/README.md say what the code says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prometheus_client.metrics import MetricWrapperBase
from pydantic_core import PydanticUndefined

from serve.app import create_app
from serve.metrics import Metrics
from serve.settings import Settings
from stages.projects._base import load_project
from tests.samples import ROOT

README = (ROOT / "serve" / "README.md").read_text().splitlines()


def table(head: str) -> list[str]:
    """The rows of the table with this first line."""
    start = README.index(head) + 2
    return README[start : README.index("", start)]


def test_the_settings_are_those_of_the_server() -> None:
    rows = []
    for name, field in Settings.model_fields.items():
        assert field.default is not PydanticUndefined
        rows.append(f"| `SERVE_{name.upper()}` | {default(field.default)} | {field.description} |")
    assert table("| variable | default | meaning |") == rows


def default(value: Any) -> str:
    """A default as the environment would give it."""
    if value is None or value == "":
        return ""
    return f"`{json.dumps(value) if isinstance(value, bool | list) else value}`"


def test_the_metrics_are_those_of_the_server() -> None:
    rows = []
    for metric in vars(Metrics()).values():
        if isinstance(metric, MetricWrapperBase):
            (family,) = metric.describe()
            labels = f"{{{', '.join(metric._labelnames)}}}" if metric._labelnames else ""
            name = family.name + {"counter": "_total", "info": "_info"}.get(family.type, "")
            rows.append(f"| `{name}{labels}` | {family.type} | {family.documentation} |")
    assert table("| metric | type | meaning |") == rows


def test_the_routes_are_those_of_the_server(tmp_path: Path) -> None:
    app = create_app(Settings(projects=["toy"], database_url=f"sqlite+aiosqlite:///{tmp_path}/serve.db"))
    rows, title = [], load_project("toy").title
    for path, operations in app.openapi_schema.to_schema()["paths"].items():
        for method, operation in operations.items():
            summary = operation["summary"].removeprefix(f"{title}: ")
            route = f"{method.upper()} {path.replace('toy', '{project}')}"
            rows.append(f"| `{route}` | {summary[:1].upper()}{summary[1:]} |")
    assert sorted(table("| route | answer |")) == sorted(rows)
