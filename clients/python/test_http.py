"""What needs no client of its own: curl as README and docs have it, requests, httpx over HTTP/1.1 and HTTP/2."""

import gzip
import json
import re
import subprocess
import zlib
from pathlib import Path

import httpx
import pytest
import requests

ROOT = Path(__file__).resolve().parents[2]


def curls():
    """Every call of README and of the page on doors, as it stands there."""
    for page in ("README.md", "docs/DOORS.md"):
        text = (ROOT / page).read_text()
        for block in re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S):
            yield from re.findall(r"^curl (?:[^'\n\\]|\\\n|'[^']*')+", block, re.M)


@pytest.mark.parametrize("line", list(curls()))
def test_curl_as_documented(address, line, tmp_path):
    line = re.sub(r"localhost:\d+", address, line)
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=20, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout and not done.stdout.startswith('{"error"'), done.stdout


def test_the_pages_have_calls():
    assert len(list(curls())) >= 3


def test_requests_v2(address, bank):
    reply = requests.post(f"http://{address}/v2/models/bank/infer", json=bank.v2(bank.outputs), timeout=10)
    assert reply.headers["x-headgate-version"] == "1"
    assert {o["name"]: o["data"] for o in reply.json()["outputs"]} == bank.outputs


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_requests_with_a_compressed_body(address, bank, coding):
    body = json.dumps(bank.v2(["margin"])).encode()
    packed = gzip.compress(body) if coding == "gzip" else zlib.compress(body)
    headers = {"content-encoding": coding, "accept-encoding": coding}
    reply = requests.post(f"http://{address}/v2/models/bank/infer", packed, headers=headers, timeout=10)
    assert reply.json()["outputs"][0]["data"] == bank.outputs["margin"]


def test_v1_rows_columns_and_names(address, bank):
    columns = {name: bank.column(name) for name in bank.names}
    for body in ({"instances": bank.rows}, {"instances": bank.records()}):
        reply = requests.post(f"http://{address}/v1/models/bank:predict", json=body, timeout=10)
        assert reply.json() == {"predictions": bank.outputs["probability"]}
    reply = requests.post(f"http://{address}/v1/models/bank:predict", json={"inputs": columns}, timeout=10)
    assert reply.json() == {"outputs": bank.outputs["probability"]}


def test_v1_lists_models(address):
    assert {"bank", "grade", "kinds"} <= set(requests.get(f"http://{address}/v1/models", timeout=10).json()["models"])


def test_nan_spelled_in_many_ways(address, bank):
    missing = [{**row, "balance": None} for row in bank.records()[:1]]
    expected = requests.post(f"http://{address}/v1/models/bank:predict", json={"instances": missing}, timeout=10).json()
    for spelled in ("NaN", '"NaN"', "null"):
        row = json.dumps({**missing[0], "balance": 0}).replace('"balance": 0', f'"balance": {spelled}')
        reply = requests.post(f"http://{address}/v1/models/bank:predict", f'{{"instances": [{row}]}}', timeout=10)
        assert reply.json() == expected
    for spelled, named in (("nan", "byte"), ("-NaN", "byte"), ('"none"', "'balance'"), ('""', "'balance'")):
        row = json.dumps({**missing[0], "balance": 0}).replace('"balance": 0', f'"balance": {spelled}')
        reply = requests.post(f"http://{address}/v1/models/bank:predict", f'{{"instances": [{row}]}}', timeout=10)
        assert reply.status_code == 400 and named in reply.json()["error"], reply.text


@pytest.mark.parametrize("http2", [False, True])
def test_httpx(address, bank, http2):
    """With HTTP/2 from the first byte, as there is no TLS to agree on it in."""
    with httpx.Client(http1=not http2, http2=http2, timeout=10) as client:
        for _ in range(3):
            reply = client.post(f"http://{address}/v2/models/bank/infer", json=bank.v2(["margin"]))
            assert reply.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
            assert reply.json()["outputs"][0]["data"] == bank.outputs["margin"]
        assert client.get(f"http://{address}/v2/health/ready").json() == {"ready": True}
