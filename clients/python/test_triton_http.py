"""NVIDIA's tritonclient over HTTP."""

import asyncio
import json
from dataclasses import replace

import numpy
import pytest
import requests
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from tritonclient.utils import InferenceServerException

from tensors import columns, same

CODINGS = [None, "gzip", "deflate"]


@pytest.fixture
def client(address):
    with triton.InferenceServerClient(address, concurrency=4) as client:
        yield client


def inputs(known, binary=True, shape=(-1,)):
    tensors = []
    for name, datatype, array in columns(known, shape):
        tensor = triton.InferInput(name, array.shape, datatype)
        tensor.set_data_from_numpy(array, binary_data=binary)
        tensors.append(tensor)
    return tensors


def outputs(names, binary=True):
    return [triton.InferRequestedOutput(name, binary_data=binary) for name in names]


def complete(known):
    """The rows that lack nothing: in this client's JSON there is no word for a number that is missing."""
    places = [at for at, row in enumerate(known.rows) if None not in row]
    outputs = {name: [values[at] for at in places] for name, values in known.outputs.items()}
    return replace(known, rows=[known.rows[at] for at in places], outputs=outputs)


@pytest.mark.parametrize("model", ["bank", "grade", "kinds"])
@pytest.mark.parametrize("out", [True, False])
def test_binary_inputs(client, request, model, out):
    known = request.getfixturevalue(model)
    result = client.infer(model, inputs(known), outputs=outputs(known.outputs, out), request_id="7")
    for output in known.outputs:
        same(result.as_numpy(output), known, output)
    assert result.get_response()["id"] == "7" and result.get_response()["model_version"] == "1"


@pytest.mark.parametrize("model", ["bank", "grade", "kinds"])
@pytest.mark.parametrize("out", [True, False])
def test_json_inputs(client, request, model, out):
    known = complete(request.getfixturevalue(model))
    result = client.infer(model, inputs(known, binary=False), outputs=outputs(known.outputs, out))
    for output in known.outputs:
        same(result.as_numpy(output), known, output)


def test_binary_and_json_in_one_call(client, kinds):
    mixed = [b if at % 2 else j for at, (b, j) in enumerate(zip(inputs(kinds), inputs(kinds, binary=False)))]
    asked = [triton.InferRequestedOutput(name, binary_data=at % 2 == 0) for at, name in enumerate(kinds.outputs)]
    result = client.infer("kinds", mixed, outputs=asked)
    for output in kinds.outputs:
        same(result.as_numpy(output), kinds, output)
    sizes = ["binary_data_size" in result.get_output(name).get("parameters", {}) for name in kinds.outputs]
    assert sizes == [at % 2 == 0 for at in range(len(sizes))]


def test_a_column_each_two_dimensional(client, bank):
    result = client.infer("bank", inputs(bank, shape=(-1, 1)), outputs=outputs(["margin"]))
    same(result.as_numpy("margin"), bank, "margin")


def test_without_outputs_all_values_come_in_binary(client, bank):
    result = client.infer("bank", inputs(bank))
    same(result.as_numpy("probability"), bank, "probability")
    assert result.get_output("probability")["parameters"]["binary_data_size"] == 8 * len(bank.rows)
    assert result.as_numpy("margin") is None


@pytest.mark.parametrize("sent", CODINGS)
@pytest.mark.parametrize("back", CODINGS)
@pytest.mark.parametrize("binary", [True, False])
def test_compression(client, bank, sent, back, binary):
    known = complete(bank)
    result = client.infer(
        "bank",
        inputs(known, binary),
        outputs=outputs(["probability", "margin"], binary),
        request_compression_algorithm=sent,
        response_compression_algorithm=back,
    )
    same(result.as_numpy("probability"), known, "probability")
    same(result.as_numpy("margin"), known, "margin")


@pytest.mark.parametrize("datatype", ["FP32", "FP16", "INT64", "INT8", "UINT16"])
def test_other_numbers_are_taken_as_what_they_are(client, bank, datatype):
    values = [20, 35, 64]
    types = {"FP32": numpy.float32, "FP16": numpy.float16, "INT64": numpy.int64, "INT8": numpy.int8, "UINT16": numpy.uint16}
    results = []
    for wire, dtype in (("FP64", numpy.float64), (datatype, types[datatype])):
        tensor = triton.InferInput("age", [3], wire)
        tensor.set_data_from_numpy(numpy.array(values, dtype=dtype))
        results.append(client.infer("bank", [tensor], outputs=outputs(["margin"])).as_numpy("margin"))
    assert (results[0] == results[1]).all()


def test_a_version_by_number(client, bank):
    result = client.infer("bank", inputs(bank), model_version="1", outputs=outputs(["margin"]))
    same(result.as_numpy("margin"), bank, "margin")


def test_async_infer(client, bank):
    pending = [client.async_infer("bank", inputs(bank), outputs=outputs(["margin"])) for _ in range(20)]
    for call in pending:
        same(call.get_result().as_numpy("margin"), bank, "margin")


def test_asyncio(address, bank, kinds):
    async def calls():
        async with triton_aio.InferenceServerClient(address) as client:
            assert await client.is_server_ready() and await client.is_model_ready("bank")
            many = [
                client.infer("bank", inputs(bank), outputs=outputs(["margin"]), request_compression_algorithm=coding)
                for coding in CODINGS * 5
            ]
            more = client.infer("kinds", inputs(kinds), response_compression_algorithm="gzip")
            with pytest.raises(InferenceServerException, match="no model 'nothing'|'nothing'"):
                await client.infer("nothing", inputs(bank))
            return await asyncio.gather(*many), await more

    many, more = asyncio.run(calls())
    for result in many:
        same(result.as_numpy("margin"), bank, "margin")
    for output in kinds.outputs:
        same(more.as_numpy(output), kinds, output)


def test_bodies_that_the_client_makes_and_others_send(address, bank):
    body, json_size = triton.InferenceServerClient.generate_request_body(inputs(bank), outputs=outputs(["margin"]))
    url, header = f"http://{address}/v2/models/bank/infer", "Inference-Header-Content-Length"
    reply = requests.post(url, data=body, headers={header: str(json_size)}, timeout=10)
    result = triton.InferenceServerClient.parse_response_body(reply.content, header_length=int(reply.headers[header]))
    same(result.as_numpy("margin"), bank, "margin")


def test_health_and_metadata(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("bank") and client.is_model_ready("bank", "1")
    assert not client.is_model_ready("nothing") and not client.is_model_ready("bank", "9")
    server = client.get_server_metadata()
    assert server["name"] == "headgate"
    assert {"binary_tensor_data", "model_repository", "statistics"} <= set(server["extensions"])
    model = client.get_model_metadata("grade")
    assert model["name"] == "grade" and model["versions"] == ["1"]
    shapes = {t["name"]: (t["datatype"], t["shape"]) for t in model["inputs"] + model["outputs"]}
    assert shapes["job"] == ("BYTES", [-1]) and shapes["age"] == ("FP64", [-1])
    assert shapes["probabilities"] == ("FP64", [-1, 3])


def test_the_repositorys_index(client):
    index = client.get_model_repository_index()
    found = {(entry["name"], entry["version"], entry["state"]) for entry in index}
    assert {("bank", "1", "READY"), ("grade", "1", "READY"), ("kinds", "1", "READY")} <= found


def test_statistics(client, bank):
    def counts():
        (stats,) = client.get_inference_statistics("bank", "1")["model_stats"]
        return stats["inference_count"], stats["execution_count"], stats["inference_stats"]["success"]["count"]

    before = counts()
    for _ in range(3):
        client.infer("bank", inputs(bank))
    after = counts()
    calls = 3, 3, len(bank.rows) * 3
    assert (after[1] - before[1], after[2] - before[2], after[0] - before[0]) == calls
    assert {s["name"] for s in client.get_inference_statistics()["model_stats"]} >= {"bank", "grade"}


def refused(call, status, *words):
    with pytest.raises(InferenceServerException) as error:
        call()
    assert error.value.status() == str(status), error.value
    for word in words:
        assert word in error.value.message(), error.value


def test_what_is_wrong_is_said(client, bank):
    good = inputs(bank)
    refused(lambda: client.infer("nothing", good), 404, "'nothing'")
    refused(lambda: client.infer("bank", good, model_version="9"), 404, "'bank'", "9")
    refused(lambda: client.infer("bank", good, outputs=outputs(["margins"])), 400, "'bank'", "'margins'", "'probability'")
    for binary in (True, False):
        text = triton.InferInput("age", [2], "BYTES")
        text.set_data_from_numpy(numpy.array(["old", "young"], dtype=object), binary_data=binary)
        refused(lambda: client.infer("bank", [text]), 400, "'bank'", "'age'")
    short = triton.InferInput("age", [2], "FP64")
    short.set_data_from_numpy(numpy.array([1.0, 2.0]))
    long = triton.InferInput("balance", [3], "FP64")
    long.set_data_from_numpy(numpy.array([1.0, 2.0, 3.0]))
    refused(lambda: client.infer("bank", [short, long]), 400, "'bank'", "'balance'", "3", "2")
    refused(lambda: client.load_model("bank"), 501, "promot")
    same(client.infer("bank", good, outputs=outputs(["margin"])).as_numpy("margin"), bank, "margin")


def test_rows_fail_alone(client, bank):
    ages = {"name": "age", "shape": [3], "datatype": "FP64", "data": [41, "old", 30]}
    body = json.dumps({"inputs": [ages], "parameters": {"row_status": True, "binary_data_output": True}}).encode()
    response = client._post("v2/models/bank/infer", body, None, None)
    result = triton.InferResult(response, False)
    status = result.as_numpy("row_status")
    assert (status[0], status[2]) == (b"", b"") and b"'age'" in status[1]
    assert numpy.isnan(result.as_numpy("probability")).tolist() == [False, True, False]


def test_a_call_may_ask_for_its_time(client, bank):
    refused(lambda: client.infer("bank", inputs(bank), headers={"x-headgate-timeout-ms": "soon"}), 400, "x-headgate-timeout-ms")
    result = client.infer("bank", inputs(bank), headers={"x-headgate-timeout-ms": "5000"}, timeout=5_000_000, priority=3)
    same(result.as_numpy("probability"), bank, "probability")


def test_types_of_outputs(client, kinds):
    result = client.infer("kinds", inputs(kinds))
    types = {"sum": "float64", "half": "float32", "twice": "int64", "both": "bool", "shout": "object"}
    assert {output: str(result.as_numpy(output).dtype) for output in kinds.outputs} == types
