from __future__ import annotations

import gzip
import hashlib
import io
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pandas as pd
import pytest

from stages.core.cli import UserError
from stages.intake.sources import read_source
from tests.conftest import S3Server
from tests.samples import ROOT, raw_rows
from tests.toys import toy

BOATS = toy("toy_price")
ROWS = raw_rows(BOATS, 20)
CSV = b"state,berth,price\nMaine,04101,250000\nPuerto Rico,00601,90000\n"


def parquet(frame: pd.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def bucket(s3: S3Server) -> Iterator[str]:
    """The address of a bucket on an S3 server of our own."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**s3.credentials, "AWS_ENDPOINT_URL": s3.url}.items():
            patch.setenv(name, value)
        fsspec.filesystem("s3").mkdir("listings")
        yield "s3://listings"


@pytest.fixture
def website(tmp_path: Path) -> Iterator[str]:
    """The address of a web server that serves the temporary folder."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["batch.csv", "batch.CSV", "batch.csv.gz", "batch.parquet"])
@pytest.mark.parametrize("place", ["path", "s3", "http"])
def test_files_are_read_from_a_path_from_s3_and_from_the_web(
    place: str, name: str, tmp_path: Path, bucket: str, website: str
) -> None:
    text = ROWS.to_csv(index=False).encode()
    content = {"parquet": parquet(ROWS), "gz": gzip.compress(text)}.get(name.rpartition(".")[2], text)
    folder = {"path": str(tmp_path), "s3": bucket, "http": website}[place]
    with fsspec.open(f"{bucket if place == 's3' else tmp_path}/{name}", "wb") as file:
        file.write(content)
    source = read_source(f"{folder}/{name}", BOATS, seed=0)
    parquet_file = name.endswith("parquet")
    expected = pd.read_parquet(io.BytesIO(content)) if parquet_file else pd.read_csv(io.BytesIO(text), dtype=str)
    pd.testing.assert_frame_equal(source.frame, expected)
    assert source.digest == hashlib.sha256(content).hexdigest()
    assert not source.simulated


@pytest.mark.parametrize("name", ["batch.csv", "batch.parquet"])
def test_columns_are_known_whatever_the_case_of_their_names(tmp_path: Path, name: str) -> None:
    frame = ROWS.rename(columns={"price": " PRICE", "berth": "Berth"}).assign(Notes="")
    (tmp_path / name).write_bytes(parquet(frame) if name.endswith("parquet") else frame.to_csv(index=False).encode())
    assert list(read_source(str(tmp_path / name), BOATS, seed=0).frame) == [*ROWS, "Notes"]


def test_csv_keeps_leading_zeros_and_drops_a_byte_order_mark(tmp_path: Path) -> None:
    (tmp_path / "batch.csv").write_bytes(b"\xef\xbb\xbf" + CSV)
    frame = read_source(str(tmp_path / "batch.csv"), BOATS, seed=0).frame
    assert list(frame) == ["state", "berth", "price"]
    assert frame["berth"].tolist() == ["04101", "00601"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("empty.csv", b"", "the file is empty"),
        ("blank.csv", b"\n \n", "the file is empty"),
        ("mark.csv", b"\xef\xbb\xbf\n", "the file is empty"),
        ("empty.parquet", b"", "the file is empty"),
        ("comma.csv", b"a,b\n1,2,\n3,4,\n", "no line fits the header, the first has 3 values where the header has 2 names"),
        ("binary.csv", bytes(range(256)) * 8, "no text file in UTF-8, UTF-16 or Latin-1"),
        ("garbage.parquet", b"no parquet at all", "no readable Parquet"),
        ("csv.parquet", CSV, "no readable Parquet"),
        ("cut.parquet", parquet(ROWS)[:-20], "no readable Parquet"),
        ("holed.parquet", parquet(ROWS)[:4] + b"\0" * 3000 + parquet(ROWS)[3004:], "no readable Parquet"),
        ("table.xlsx", b"PK", "files end in .parquet or one of .csv, .tsv"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_clear_sentence(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_source(str(path), BOATS, seed=0)
    assert str(error.value).startswith(f"source {str(path)!r}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("nowhere/batch.csv", "there is no such file"),
        (str(ROOT), "cannot be read"),
        ("ftp://example.org/batch.csv", "unknown scheme 'ftp'"),
        ("simulator", "there is no such file"),
        ("simulate?rows=many", "rows and seed are whole numbers"),
        ("simulate?rows=1.5", "rows and seed are whole numbers"),
        ("simulate?rows=-5", "rows"),
        ("simulate?seed=-1", "seed"),
        ("simulate?rows=", "rows"),
        ("simulate?row=10", "unknown option row"),
        ("simulate?rows=10&shift=earthquake", "no shift 'earthquake'; toy_price has covariate"),
    ],
)
def test_an_address_that_leads_nowhere_is_one_clear_sentence(address: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        read_source(address, BOATS, seed=0)
    assert str(error.value).startswith(f"source {address!r}: ")
    assert "\n" not in str(error.value)


def test_what_is_missing_on_a_server_is_one_clear_sentence(bucket: str, website: str) -> None:
    for address in (f"{bucket}/none.csv", "s3://nobody/none.csv", f"{website}/none.csv"):
        with pytest.raises(UserError, match="there is no such file"):
            read_source(address, BOATS, seed=0)
    with pytest.raises(UserError, match="cannot be read") as error:
        read_source("http://127.0.0.1:9/batch.csv", BOATS, seed=0)
    assert "\n" not in str(error.value)


def test_a_simulation_takes_rows_seed_and_shift_from_its_address() -> None:
    def frame(address: str, seed: int = 0) -> pd.DataFrame:
        source = read_source(address, BOATS, seed)
        assert source.simulated
        assert source.digest is None
        return source.frame

    assert len(frame("simulate")) == BOATS.simulated_rows
    assert frame("simulate?rows=30").equals(raw_rows(BOATS, 30))
    assert frame("simulate?rows=30&seed=5", seed=1).equals(frame("simulate?rows=30", seed=5))
    assert frame("simulate?rows=30&shift=inflation").equals(raw_rows(BOATS, 30, shift="inflation"))
