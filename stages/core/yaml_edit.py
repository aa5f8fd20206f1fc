"""Editing a YAML file without touching its comments, order or layout."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.util import load_yaml_guess_indent


def edited(text: str, change: Callable[[Any], None]) -> str:
    """The text after `change` worked on the document in it; comments, order and indentation stay."""
    yaml, out = YAML(), io.StringIO()
    yaml.preserve_quotes, yaml.width = True, sys.maxsize
    document, indent, offset = load_yaml_guess_indent(text, yaml=yaml)
    yaml.indent(sequence=indent, offset=offset or 0)
    change(document)
    yaml.dump(document, out)
    return out.getvalue()
