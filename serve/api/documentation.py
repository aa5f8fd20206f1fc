"""The OpenAPI document, and the page that shows it without any content network."""

from __future__ import annotations

import asyncio
import importlib.resources
import re
from functools import cache
from typing import Any

from litestar import MediaType, Request, Response, get
from litestar.params import FromPath

from serve.api.middleware import CACHEABLE
from serve.api.static_files import StaticFiles
from serve.settings import Settings
from stages.projects._base import FIRST_DAY, LAST_DAY, Project, columns_of
from stages.runtime.values import MISSING_WORDS

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Veritable: the API</title>
<link rel="stylesheet" href="{root}/docs/{version}/swagger-ui.css">
</head>
<body>
<main id="swagger-ui"></main>
<script src="{root}/docs/{version}/swagger-ui-bundle.js"></script>
<script src="{root}/docs/{version}/start.js"></script>
</body>
</html>
"""
THRESHOLD = {
    "name": "threshold",
    "in": "query",
    "required": False,
    "description": "Decide at this probability instead of the tuned threshold.",
    "schema": {"type": "number", "minimum": 0, "maximum": 1},
}
IDEMPOTENCY_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "A name for this request. A retry with it gets the same answer and is not logged again, for 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
DAY = r"^((19|20|21)\d\d|2200)-\d\d-\d\d$"  # what JSON Schema can say of the range of dates
# Texts that are taken as they are, by JSON Schema: single blanks inside, and no word for a missing value.
WORDS = "|".join(
    "".join(f"[{c}{c.upper()}]" if c.isalpha() else re.escape(c) for c in word) for word in sorted(MISSING_WORDS)
)
PART = r"[^\s\u001c-\u001f\u0085]+"  # Python takes more characters for blanks than the regular expressions of JSON Schema
TEXT = rf"^(?!({WORDS})$){PART}( {PART})*$"
SCRIPT = 'SwaggerUIBundle({{url: "{root}/openapi.json", dom_id: "#swagger-ui", deepLinking: true, validatorUrl: null}});\n'


def row_schema(project: Project) -> dict[str, Any]:
    """JSON Schema of the project's row with units and the range of dates in the descriptions and a filled-in example."""
    schema = project.row.model_json_schema()
    columns = {column.name: column for column in columns_of(project.row)}
    for name, field in schema["properties"].items():
        column = columns[name]
        notes = [f"Unit: {column.unit}."] if column.unit else []
        if column.kind == "date":
            notes.append(f"Between {FIRST_DAY} and {LAST_DAY}.")
            field["pattern"] = DAY
        if column.kind == "text" and not column.choices and not column.pattern:
            notes.append("Blanks around it and words for a missing value, such as NA, are read as that.")
            for part in field.get("anyOf", [field]):
                if part.get("type") == "string":
                    part["pattern"] = TEXT
        if notes:
            field["description"] = " ".join(filter(None, [field.get("description"), *notes]))
    schema["example"] = project.example_row
    return schema


def add_bodies(document: dict[str, Any], projects: list[Project], max_batch: int) -> dict[str, Any]:
    """The document with what handlers read themselves and Litestar therefore does not know: bodies, the
    threshold and the idempotency key."""
    for project in projects:
        row = row_schema(project)
        rows = {
            "type": "object",
            "required": ["rows"],
            "additionalProperties": False,
            "properties": {"rows": {"type": "array", "items": row, "minItems": 1, "maxItems": max_batch}},
            "example": {"rows": [row["example"]]},
        }
        outcome: dict[str, Any] = {"type": "number", "minimum": -1e12, "maximum": 1e12}
        if project.task == "classification":
            outcome = {"type": "integer", "enum": [0, 1]}
        feedback = {
            "type": "object",
            "required": ["prediction_id", "outcome"],
            "additionalProperties": False,
            "properties": {"prediction_id": {"type": "string", "maxLength": 64}, "outcome": outcome},
        }
        for path, schema in (("predict", row), ("explain", row), ("predict/batch", rows), ("feedback", feedback)):
            operation = document["paths"][f"/v1/{project.name}/{path}"]["post"]
            operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
            if project.task == "classification" and path.startswith("predict"):
                operation["parameters"] = [THRESHOLD]
            if path.startswith("predict"):
                operation["parameters"] = [*operation.get("parameters", []), IDEMPOTENCY_KEY]
    return document


def documentation_routes(projects: list[Project], settings: Settings) -> list[Any]:
    """`/openapi.json` and `/docs`."""
    root = settings.root_path
    made: list[dict[str, Any]] = []

    @cache
    def swagger() -> StaticFiles:
        folder = importlib.resources.files("swagger_ui") / "static"
        contents = {name: (folder / name).read_bytes() for name in ("swagger-ui.css", "swagger-ui-bundle.js")}
        return StaticFiles({**contents, "start.js": SCRIPT.format(root=root).encode()})

    @get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request[Any, Any, Any]) -> dict[str, Any]:
        if not made:
            made.append(add_bodies(request.app.openapi_schema.to_schema(), projects, settings.max_batch))
        return made[0]

    @get("/docs", media_type=MediaType.HTML, include_in_schema=False)
    async def docs() -> str:
        return PAGE.format(root=root, version=(await asyncio.to_thread(swagger)).version)

    @get("/docs/{release:str}/{name:str}", include_in_schema=False, opt={"headers": CACHEABLE})
    async def file(request: Request[Any, Any, Any], release: FromPath[str], name: FromPath[str]) -> Response[bytes]:
        return (await asyncio.to_thread(swagger)).response(request, release, name)

    return [openapi, docs, file]
