"""Reads raw.parquet, writes train.parquet, test.parquet and split.parquet (which raw row went where).

python -m stages.prepare bankchurn
"""

from __future__ import annotations

from stages.core.cli import run
from stages.core.files import Paths, read_parquet, write


def main(name: str) -> None:
    from stages.core.params import load_block, load_seed
    from stages.intake.settings import Prepare
    from stages.intake.split import check_leaks, check_sides, draw_keys, record_split, split_rows
    from stages.projects._base import load_project
    from stages.runtime.wording import count

    project, settings, paths = load_project(name), load_block(name, "prepare", Prepare), Paths(name)
    raw = read_parquet(paths.data / "raw.parquet")
    why = project.why_left_out(raw)
    frame = raw[why == ""]
    check_leaks(frame, project)
    keys = draw_keys(raw["source"], load_seed())
    test = split_rows(frame, keys[frame.index], settings.test_size, project)
    check_sides(frame, test, settings.test_size, project)

    for side, rows in (("train", frame[~test]), ("test", frame[test])):
        write(paths.data / f"{side}.parquet", rows.drop(columns="source").reset_index(drop=True).to_parquet)
    write(paths.data / "split.parquet", record_split(raw, frame, test).to_parquet)
    trained, tested, left_out = count(int((~test).sum()), "row"), count(int(test.sum())), count(len(raw) - len(frame))
    print(f"{name}: {trained} to train on, {tested} to test on, {left_out} left out")
    for reason, times in why[why != ""].value_counts().items():
        print(f"    {count(times)} x {reason}")


if __name__ == "__main__":
    run(main)
