from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stages.core.cli import UserError
from stages.modeling.pipeline import RowFeatures
from stages.prepare import main
from stages.projects._base import Project
from tests.samples import raw_rows, records, write_params
from tests.toys import toy

PARCELS = toy()


def prepare(frame: pd.DataFrame, name: str) -> None:
    write_params(Path(), name)
    Path("data", name).mkdir(parents=True, exist_ok=True)
    frame.to_parquet(f"data/{name}/raw.parquet")
    main(name)


@pytest.mark.parametrize(
    ("column", "copy"),
    [
        ("value", {0: 0.0, 1: 1000.0}),
        ("carrier", {0: "France", 1: "Spain"}),
    ],
)
def test_an_input_that_gives_the_target_away_is_refused(workspace: Path, column: str, copy: dict[int, Any]) -> None:
    frame = records(PARCELS, 100)
    frame[column] = frame["late"].map(copy)
    with pytest.raises(UserError, match=f"{column} all but equals the target late"):
        prepare(frame, "toy")
    assert not Path("data/toy/train.parquet").exists()


def test_rows_of_one_class_are_refused(workspace: Path) -> None:
    with pytest.raises(UserError, match="all rows have the same late"):
        prepare(records(PARCELS, 50).assign(late=0.0), "toy")


def test_the_list_of_rows_reproduces_both_sides(project: Project, finished: Path) -> None:
    data = finished / "data" / project.name
    raw, split = (pd.read_parquet(data / f"{name}.parquet") for name in ("raw", "split"))
    assert split["row"].tolist() == raw.index.tolist()
    for side in ("train", "test"):
        rows = raw.loc[split["row"][split["part"] == side]].drop(columns="source").reset_index(drop=True)
        pd.testing.assert_frame_equal(rows, pd.read_parquet(data / f"{side}.parquet"))
    dropped = raw.drop(index=project.clean(raw).index).index
    assert split["row"][split["part"] == "dropped"].tolist() == dropped.tolist()


def test_the_command_says_how_many_rows_are_left_out_for_which_reason(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = records("toy_price", 50).assign(price=20_000.0)
    frame.loc[[3, 4], "price"] = [1.0, 3e6]
    prepare(frame, "toy_price")
    first, *reasons = capsys.readouterr().out.splitlines()
    assert first.endswith(" 2 left out")
    assert [reason.partition(" (")[0].strip() for reason in reasons] == [
        "1 x the price is a placeholder", "1 x the price is above 2,000,000 USD",
    ]  # fmt: skip


def test_features_do_not_see_the_target_or_what_only_the_record_has(project: Project) -> None:
    frame = records(project)
    features = RowFeatures(project.name).transform(frame)
    hidden = [name for name in project.record.model_fields if name not in project.row.model_fields]
    assert project.target in hidden
    shuffled = frame.assign(**{name: frame[name].sample(frac=1, random_state=1).to_numpy() for name in hidden})
    pd.testing.assert_frame_equal(RowFeatures(project.name).transform(shuffled), features)
    pd.testing.assert_frame_equal(RowFeatures(project.name).transform(frame.drop(columns=hidden)), features)


def test_cleaning_only_drops_rows(project: Project) -> None:
    frame = records(project, 1_000)
    cleaned = project.clean(frame)
    pd.testing.assert_frame_equal(cleaned, frame.loc[cleaned.index])
    assert len(cleaned) > 0.9 * len(frame)
    assert len(raw_rows(project, 1_000)) == 1_000
