"""Reading params.yaml one block at a time, validated. The model of each block is beside the code that reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from stages.core.cli import UserError

PARAMS = Path("params.yaml")
STAGES = ("ingest", "prepare", "train", "evaluate", "explain")  # DVC runs none of these without its block, even an empty one
Share = Annotated[float, Field(gt=0, lt=1)]


class Block(BaseModel):
    """A block of params.yaml. A key that nothing reads is an error, not a silent typo."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Base(Block):
    """What all projects share."""

    seed: Annotated[int, Field(ge=0)]


Model = TypeVar("Model", bound=BaseModel)


def load_block(project: str, name: str, model: type[Model], path: Path = PARAMS) -> Model:
    """One block of a project, with the model's defaults where it is left out; UserError names the key that is wrong, or a
    block that a later stage needs.
    """
    blocks = read_params(path).get(project)
    if not isinstance(blocks, dict):
        raise UserError(f"{path} has no block {project!r}; copy the block of another project and adapt it")
    if missing := [f"{project}.{stage}" for stage in STAGES if stage not in blocks]:
        raise UserError(
            f"{path} lacks {', '.join(missing)}: add each, as `{missing[0].split('.')[1]}: {{}}` for its defaults"
        )
    return validated(blocks.get(name, {}), model, f"{project}.{name}", path)


def load_seed(path: Path = PARAMS) -> int:
    """`base.seed`, from which every random draw follows."""
    return validated(read_params(path).get("base"), Base, "base", path).seed


def read_params(path: Path = PARAMS) -> dict[str, Any]:
    """A YAML file as DVC reads it; UserError where there is none or it is no mapping."""
    try:
        return parse_yaml(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise UserError(f"there is no {path} in {Path.cwd()}: run the command in the root of the repository") from None


def parse_yaml(content: bytes, name: str) -> dict[str, Any]:
    """The mapping in a YAML file of this name; UserError where it holds none."""
    try:
        document = YAML(typ="safe").load(content.decode())
    except UnicodeDecodeError:
        raise UserError(f"{name} is no text in UTF-8") from None
    except YAMLError as error:
        raise UserError(f"{name} is no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise UserError(f"{name} must hold a mapping, not {type(document).__name__}")
    return document


def validated(value: Any, model: type[Model], place: str, path: Path = PARAMS) -> Model:
    """A block as its model; UserError with the address of each wrong key below `place`."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        wrong = (
            f"{'.'.join([place, *map(str, item['loc'])])}: {item['msg'].removeprefix('Value error, ')}"
            for item in error.errors()
        )
        raise UserError(f"{path}: {'; '.join(wrong)}") from None
