"""Makes a logged prediction again, with the code, the model and the row that made it, and compares the scores bit for bit.

python -m stages.replay 0199b2c4-5e0f-7d1a-8c3e-2f6a1b9d4e70 --url http://127.0.0.1:8000
python -m stages.replay --file prediction.json --retrain

--file holds the answer of GET /v1/predictions/{id}. The model is fetched by its revision, or with --retrain trained again on
the data of that revision; either must come to the hash that was logged. Exits with 1 where the score differs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from urllib.parse import quote

from stages.core.cli import UserError, run


def options(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("prediction_id", nargs="?", help="the id of a logged prediction")
    which.add_argument("--file", type=Path, help="a logged prediction as JSON")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server that logged it; default: %(default)s")
    parser.add_argument("--key", help="its API key; default: VERITABLE_API_KEY")
    parser.add_argument("--retrain", action="store_true", help="train the model again instead of fetching it")


def main(prediction_id: str | None, file: Path | None, url: str, key: str | None, retrain: bool) -> int:
    from stages.promotion.git import check_root
    from stages.promotion.replay import describe_replay, read_logged, replay_prediction
    from stages.promotion.server import call

    check_root()
    if file:
        try:
            answer = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{file} cannot be read: {error}") from None
    else:
        address = f"{url.rstrip('/')}/v1/predictions/{quote(str(prediction_id), safe='')}"
        answer = call(address, **({"X-API-Key": key} if key else {}))
    logged = read_logged(answer, str(file or url))
    manifest, score = replay_prediction(logged, retrain=retrain)
    print(describe_replay(logged, manifest, score))
    return int(score != logged.output.score)


if __name__ == "__main__":
    run(main, options, takes_project=False)
