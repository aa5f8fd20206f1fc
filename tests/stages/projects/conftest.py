"""Fixtures of the tests of the real projects."""

from __future__ import annotations

import pytest

from stages.projects._base import Project, load_project, project_names


@pytest.fixture(scope="module", params=project_names())
def project(request: pytest.FixtureRequest) -> Project:
    """Every project of this repository in turn; its module of tests says `REAL_PROJECTS = True`."""
    return load_project(request.param)
