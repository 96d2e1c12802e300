"""grpcurl: gRPC from a shell, by reflection alone."""

import base64
import json
import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

BUILT = Path(__file__).resolve().parents[2] / ".tools/bin/grpcurl"
GRPCURL = os.environ.get("HEADGATE_GRPCURL") or (BUILT if BUILT.exists() else shutil.which("grpcurl"))
pytestmark = pytest.mark.skipif(not GRPCURL, reason="grpcurl is not installed")


def grpcurl(address, *arguments, stdin=None):
    command = [GRPCURL, "-plaintext", "-max-time", "10", *arguments[:-1], address, *arguments[-1].split()]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=30)


def test_it_lists_and_describes(address):
    assert "inference.GRPCInferenceService" in grpcurl(address, "list").stdout.split()
    said = grpcurl(address, "describe inference.GRPCInferenceService.ModelInfer").stdout
    assert "inference.ModelInferRequest" in said


def test_it_scores(address, bank):
    """JSON has bytes in base64; a number that is missing is the text NaN."""
    tensors = []
    for tensor in bank.inputs:
        values = bank.column(tensor["name"])
        if tensor["datatype"] == "BYTES":
            data = {"bytes_contents": [base64.b64encode((value or "").encode()).decode() for value in values]}
        else:
            data = {"fp64_contents": ["NaN" if value is None else value for value in values]}
        tensors.append({**tensor, "shape": [len(values)], "contents": data})
    body = json.dumps({"model_name": "bank", "inputs": tensors, "outputs": [{"name": "margin"}]})
    done = grpcurl(address, "-d", "@", "inference.GRPCInferenceService/ModelInfer", stdin=body)
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    (output,) = reply["outputs"]
    if "contents" in output:
        got = output["contents"]["fp64Contents"]
    else:
        got = [value for (value,) in struct.iter_unpack("<d", base64.b64decode(reply["rawOutputContents"][0]))]
    assert got == bank.outputs["margin"]


def test_it_says_our_words(address):
    done = grpcurl(address, "-d", '{"model_name": "nothing"}', "inference.GRPCInferenceService/ModelInfer")
    assert done.returncode != 0 and "NotFound" in done.stderr and "'nothing'" in done.stderr
