"""Makes a logged prediction again, with the code, the model and the row that made it, and compares the scores bit for bit.

python -m stages.replay 0199b2c4-5e0f-7d1a-8c3e-2f6a1b9d4e70 --url http://127.0.0.1:8000
python -m stages.replay --file prediction.json --retrain

--file holds the answer of GET /v1/predictions/{id}. The model is fetched by its revision, or with --retrain trained again on
the data of that revision; either must come to the hash that was logged. Exits with 1 where the score differs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from urllib.parse import quote

from stages.core.cli import UserError


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("prediction_id", nargs="?", help="the id of a logged prediction")
    which.add_argument("--file", type=Path, help="a logged prediction as JSON")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the server that logged it; default: %(default)s")
    parser.add_argument("--key", help="its API key; default: VERITABLE_API_KEY")
    parser.add_argument("--retrain", action="store_true", help="train the model again instead of fetching it")
    return parser.parse_args()


def main(prediction_id: str | None, file: Path | None, url: str, key: str | None, retrain: bool) -> int:
    from stages.core.files import read_json
    from stages.promotion.replay import describe_replay, read_logged, replay_prediction
    from stages.promotion.server import call

    if file:
        try:
            answer = read_json(file)
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
    try:
        sys.exit(main(**vars(parse())))
    except UserError as error:
        sys.exit(f"replay: {error}")
