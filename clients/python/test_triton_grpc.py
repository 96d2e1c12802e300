"""NVIDIA's tritonclient over gRPC."""

import asyncio
import queue

import numpy
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

from tensors import columns, same

CODINGS = [None, "gzip", "deflate"]


@pytest.fixture
def client(address):
    with triton.InferenceServerClient(address) as client:
        yield client


def inputs(known, shape=(-1,)):
    tensors = []
    for name, datatype, array in columns(known, shape):
        tensor = triton.InferInput(name, array.shape, datatype)
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    return tensors


def outputs(names):
    return [triton.InferRequestedOutput(name) for name in names]


def waiting(seconds):
    tensor = triton.InferInput("seconds", [1], "FP64")
    return [tensor.set_data_from_numpy(numpy.array([seconds]))]


@pytest.mark.parametrize("model", ["bank", "grade", "kinds"])
@pytest.mark.parametrize("coding", CODINGS)
def test_infer(client, request, model, coding):
    known = request.getfixturevalue(model)
    result = client.infer(model, inputs(known), outputs=outputs(known.outputs), request_id="7", compression_algorithm=coding)
    for output in known.outputs:
        same(result.as_numpy(output), known, output)
    assert result.get_response().id == "7" and result.get_response().model_version == "1"


def test_without_outputs_all_but_margins_come(client, bank):
    result = client.infer("bank", inputs(bank, (-1, 1)), model_version="1")
    same(result.as_numpy("probability"), bank, "probability")
    assert result.as_numpy("margin") is None


def test_types_of_outputs(client, kinds):
    result = client.infer("kinds", inputs(kinds))
    types = {"sum": "float64", "half": "float32", "twice": "int64", "both": "bool", "shout": "object"}
    assert {output: str(result.as_numpy(output).dtype) for output in kinds.outputs} == types


@pytest.mark.parametrize("datatype", ["FP32", "FP16", "INT64", "INT8", "UINT16", "BOOL"])
def test_other_numbers_are_taken_as_what_they_are(client, bank, datatype):
    types = {"FP32": "float32", "FP16": "float16", "INT64": "int64", "INT8": "int8", "UINT16": "uint16", "BOOL": "bool"}
    results = []
    values = numpy.array([0, 1, 1] if datatype == "BOOL" else [20, 35, 64])
    for wire, dtype in (("FP64", "float64"), (datatype, types[datatype])):
        tensor = triton.InferInput("age", [3], wire)
        tensor.set_data_from_numpy(values.astype(dtype))
        results.append(client.infer("bank", [tensor], outputs=outputs(["margin"])).as_numpy("margin"))
    assert (results[0] == results[1]).all()


def test_async_infer(client, bank):
    done = queue.Queue()
    for _ in range(20):
        client.async_infer("bank", inputs(bank), lambda result, error: done.put((result, error)), outputs=outputs(["margin"]))
    for _ in range(20):
        result, error = done.get(timeout=10)
        assert error is None
        same(result.as_numpy("margin"), bank, "margin")


def test_a_stream_answers_in_order_and_outlives_errors(client, bank):
    done = queue.Queue()
    client.start_stream(lambda result, error: done.put((result, error)))
    for at in range(10):
        model = "nothing" if at == 4 else "bank"
        client.async_stream_infer(model, inputs(bank), outputs=outputs(["margin"]), request_id=str(at))
    for at in range(10):
        result, error = done.get(timeout=10)
        if at == 4:
            assert "'nothing'" in error.message()
            continue
        assert error is None and result.get_response().id == str(at)
        same(result.as_numpy("margin"), bank, "margin")
    client.stop_stream()


def test_asyncio(address, bank, kinds):
    async def calls():
        async with triton_aio.InferenceServerClient(address) as client:
            assert await client.is_server_ready() and await client.is_model_ready("bank")
            many = [client.infer("bank", inputs(bank), outputs=outputs(["margin"]), compression_algorithm=c) for c in CODINGS * 5]
            with pytest.raises(InferenceServerException, match="'nothing'"):
                await client.infer("nothing", inputs(bank))

            async def asked():
                for at in range(3):
                    yield {"model_name": "kinds", "inputs": inputs(kinds), "request_id": str(at)}

            streamed = [pair async for pair in client.stream_infer(asked())]
            return await asyncio.gather(*many), streamed

    many, streamed = asyncio.run(calls())
    for result in many:
        same(result.as_numpy("margin"), bank, "margin")
    assert [(result.get_response().id, error) for result, error in streamed] == [("0", None), ("1", None), ("2", None)]
    for result, _ in streamed:
        for output in kinds.outputs:
            same(result.as_numpy(output), kinds, output)


def test_health_and_metadata(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("bank") and client.is_model_ready("bank", "1")
    server = client.get_server_metadata(as_json=True)
    assert server["name"] == "headgate" and {"model_repository", "statistics"} <= set(server["extensions"])
    model = client.get_model_metadata("grade", as_json=True)
    assert model["name"] == "grade" and model["versions"] == ["1"]
    shapes = {t["name"]: (t["datatype"], t["shape"]) for t in model["inputs"] + model["outputs"]}
    assert shapes["job"] == ("BYTES", ["-1"]) and shapes["age"] == ("FP64", ["-1"])
    assert shapes["probabilities"] == ("FP64", ["-1", "3"])


def test_a_model_that_is_not_there_is_not_ready(client):
    for model, version in (("nothing", ""), ("bank", "9")):
        try:
            assert not client.is_model_ready(model, version)
        except InferenceServerException as error:
            assert error.status() == "StatusCode.NOT_FOUND" and f"'{model}'" in error.message()


def test_the_repositorys_index(client):
    index = client.get_model_repository_index(as_json=True)["models"]
    assert {("bank", "1", "READY"), ("kinds", "1", "READY")} <= {(m["name"], m["version"], m["state"]) for m in index}


def test_statistics(client, bank):
    def counts():
        (stats,) = client.get_inference_statistics("bank", "1").model_stats
        return stats.inference_count, stats.execution_count, stats.inference_stats.success.count

    before = counts()
    for _ in range(3):
        client.infer("bank", inputs(bank))
    assert [b - a for a, b in zip(before, counts())] == [3 * len(bank.rows), 3, 3]
    assert {s.name for s in client.get_inference_statistics().model_stats} >= {"bank", "grade"}


def refused(call, status, *words):
    with pytest.raises(InferenceServerException) as error:
        call()
    assert error.value.status() == f"StatusCode.{status}", error.value
    for word in words:
        assert word in error.value.message(), error.value


def test_what_is_wrong_is_said(client, bank):
    good = inputs(bank)
    refused(lambda: client.infer("nothing", good), "NOT_FOUND", "'nothing'")
    refused(lambda: client.infer("bank", good, model_version="9"), "NOT_FOUND", "'bank'", "9")
    refused(lambda: client.infer("bank", good, model_version="first"), "INVALID_ARGUMENT", "first")
    wrong = outputs(["margins"])
    refused(lambda: client.infer("bank", good, outputs=wrong), "INVALID_ARGUMENT", "'bank'", "'margins'", "'probability'")
    text = triton.InferInput("age", [2], "BYTES")
    text.set_data_from_numpy(numpy.array(["old", "young"], dtype=object))
    refused(lambda: client.infer("bank", [text]), "INVALID_ARGUMENT", "'bank'", "'age'")
    two, three = triton.InferInput("age", [2], "FP64"), triton.InferInput("balance", [3], "FP64")
    two.set_data_from_numpy(numpy.zeros(2))
    three.set_data_from_numpy(numpy.zeros(3))
    refused(lambda: client.infer("bank", [two, three]), "INVALID_ARGUMENT", "'bank'", "'balance'", "3", "2")
    refused(lambda: client.load_model("bank"), "UNIMPLEMENTED")
    same(client.infer("bank", good, outputs=outputs(["margin"])).as_numpy("margin"), bank, "margin")


def test_rows_fail_alone_only_where_asked(client, bank):
    result = client.infer("bank", inputs(bank), outputs=outputs(["margin"]), parameters={"row_status": True})
    same(result.as_numpy("margin"), bank, "margin")
    assert result.as_numpy("row_status").tolist() == [b""] * len(bank.rows)


def test_contributions(client, bank):
    result = client.infer("bank", inputs(bank), outputs=outputs(["margin"]), parameters={"contributions": True})
    parts = result.as_numpy("contributions")
    assert parts.shape == (len(bank.rows), len(bank.inputs) + 1)
    assert numpy.allclose(parts.sum(axis=1), result.as_numpy("margin"), rtol=1e-12)


def test_deadlines_end_calls_and_nobody_elses(client, bank):
    refused(lambda: client.infer("slow", waiting(1.5), client_timeout=0.3), "DEADLINE_EXCEEDED")
    same(client.infer("bank", inputs(bank), client_timeout=5, outputs=outputs(["margin"])).as_numpy("margin"), bank, "margin")
