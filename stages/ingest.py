"""Reads the sources, writes raw.parquet, quarantine.parquet and data.json.

python -m stages.ingest bankchurn
"""

from __future__ import annotations

from stages.core.cli import run
from stages.core.files import Paths, write, write_json


def main(name: str) -> None:
    import pandas as pd

    from stages.core.params import load_block, load_seed
    from stages.intake.settings import Ingest
    from stages.intake.sift import check_header, check_rejected, count_copies, count_left_out, sift, source_entry
    from stages.intake.sources import read_source
    from stages.projects._base import columns_of, load_project
    from stages.runtime.wording import count

    project, settings, paths = load_project(name), load_block(name, "ingest", Ingest), Paths(name)
    seed, columns = load_seed(), columns_of(project.record)
    accepted, rejected, sources = [], [], []
    for number, address in enumerate(settings.sources):
        source = read_source(address, project, seed)
        check_header(source, columns)
        good, bad, counts = sift(source.frame, columns, source.faults)
        accepted.append(good.assign(source=number))
        rejected.append(bad.assign(source=number, row=bad.index))
        sources.append(source_entry(source, columns, counts, bad, project.target))
    raw, quarantine = pd.concat(accepted, ignore_index=True), pd.concat(rejected, ignore_index=True)
    write(paths.data / "quarantine.parquet", quarantine.to_parquet)  # also where it stops: it shows why
    check_rejected(sources, quarantine, settings.max_rejected)
    copies, left_out = count_copies(raw, len(sources), project), count_left_out(raw, len(sources), project)
    for entry, found, reasons in zip(sources, copies, left_out, strict=True):
        entry.update(found, left_out=reasons)

    write(paths.data / "raw.parquet", raw.to_parquet)
    write_json(paths.reports / "data.json", {"simulated": any(s["simulated"] for s in sources), "sources": sources})
    print(f"{name}: {count(len(raw), 'row')}, {count(len(quarantine))} in quarantine")
    for entry in sources:
        for reason, rows in entry["rejected_by_reason"].items():
            print(f"    {count(rows)} x {reason}")
        if copied := entry["copies"] + entry["in_earlier_source"]:
            earlier = count(entry["in_earlier_source"])
            print(
                f"    {entry['address']}: {count(copied, 'copy', 'copies')}, {earlier} of them of a row in an earlier source"
            )


if __name__ == "__main__":
    run(main)
