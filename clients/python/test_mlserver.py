"""What MLServer has for callers: its types and codecs, and `mlserver infer`, which sends a file of requests in batches."""

import json
import subprocess
import sys
from pathlib import Path

import pandas
import pytest
import requests
from mlserver.codecs import PandasCodec, StringCodec
from mlserver.codecs.numpy import NumpyCodec
from mlserver.types import InferenceErrorResponse, InferenceRequest, InferenceResponse, MetadataModelResponse
from mlserver.types import MetadataServerResponse, RepositoryIndexResponse, RequestInput, RequestOutput

from tensors import columns, same


def ask(address, model, request):
    url = f"http://{address}/v2/models/{model}/infer"
    reply = requests.post(url, data=request.model_dump_json(), headers={"content-type": "application/json"}, timeout=10)
    assert reply.status_code == 200, reply.text
    return InferenceResponse.model_validate_json(reply.content)


def frame(known):
    """Its codec has no word for a text that is missing: the empty one is no known job, which is the same."""
    return pandas.DataFrame(known.rows, columns=known.names).fillna({"job": ""}).astype({"job": object})


def test_a_data_frame(address, bank):
    request = PandasCodec.encode_request(frame(bank))
    request.outputs = [RequestOutput(name=name) for name in bank.outputs]
    response = ask(address, "bank", request)
    table = PandasCodec.decode_response(response)
    assert {name: table[name].tolist() for name in table} == bank.outputs


@pytest.mark.parametrize("model", ["bank", "grade", "kinds"])
def test_tensors(address, request, model):
    known = request.getfixturevalue(model)
    tensors = []
    for name, datatype, array in columns(known):
        if datatype == "BYTES":
            tensors.append(StringCodec.encode_input(name, array.tolist()))
        else:
            tensors.append(NumpyCodec.encode_input(name, array))
    response = ask(address, model, InferenceRequest(inputs=tensors, outputs=[RequestOutput(name=n) for n in known.outputs]))
    for output in response.outputs:
        if output.datatype == "BYTES":
            assert StringCodec.decode_output(output) == known.outputs[output.name]
        else:
            same(NumpyCodec.decode_output(output).reshape(len(known.rows), -1).squeeze(), known, output.name)


def test_the_documents_are_as_its_types_have_them(address):
    def get(path, method="GET"):
        reply = requests.request(method, f"http://{address}{path}", timeout=10)
        assert reply.status_code == 200, reply.text
        return reply.content

    assert MetadataServerResponse.model_validate_json(get("/v2")).name == "headgate"
    model = MetadataModelResponse.model_validate_json(get("/v2/models/grade"))
    assert [(t.name, t.datatype, t.shape) for t in model.outputs][0] == ("probabilities", "FP64", [-1, 3])
    index = RepositoryIndexResponse.model_validate_json(get("/v2/repository/index", "POST"))
    assert ("bank", "1") in {(item.name, item.version) for item in index.root}
    reply = requests.post(f"http://{address}/v2/models/bank/infer", data="{}", timeout=10)
    assert reply.status_code == 400 and "'bank'" in InferenceErrorResponse.model_validate_json(reply.content).error


@pytest.mark.parametrize("binary", [False, True])
def test_mlserver_infer(address, bank, tmp_path, binary):
    """One request a row; the client merges seven of them into a call and takes the reply apart."""
    rows = [(at, row) for at, row in enumerate(bank.rows) if None not in row]
    with open(tmp_path / "in.jsonl", "w") as file:
        for at, row in rows:
            tensors = [RequestInput(**i, shape=[1], data=[v]) for i, v in zip(bank.inputs, row)]
            request = InferenceRequest(id=str(at), inputs=tensors, outputs=[RequestOutput(name="margin")])
            file.write(request.model_dump_json(exclude_none=True) + "\n")
    command = [Path(sys.executable).parent / "mlserver", "infer", "-u", address, "-m", "bank", "-s", "7", "-w", "2"]
    command += ["-i", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl"] + (["-b"] if binary else [])
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    replies = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    got = {int(reply["id"]): reply["outputs"][0]["data"] for reply in replies}
    assert got == {at: [bank.outputs["margin"][at]] for at, _ in rows}
