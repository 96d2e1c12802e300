"""KServe's own Python clients: REST v1 and v2, gRPC."""

import asyncio

import grpc
import httpx
import pytest
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig
from kserve.protocol.infer_type import RequestedOutput

from tensors import columns, same


def asked(known, binary=True, outputs=None, out=True):
    """KServe's request. Out: whether outputs are to be binary."""
    tensors = []
    for name, datatype, array in columns(known):
        tensor = InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array, binary_data=binary)
        tensors.append(tensor)
    wanted = [RequestedOutput(name, parameters={"binary_data": out}) for name in outputs or known.outputs]
    return InferRequest(known.name, tensors, request_id="7", request_outputs=wanted)


def rest(address, protocol, ask):
    """Runs `ask(client, url)`."""

    async def run():
        client = InferenceRESTClient(RESTConfig(protocol=protocol, timeout=10))
        try:
            return await ask(client, f"http://{address}")
        finally:
            await client.close()

    return asyncio.run(run())


def over_grpc(address, ask):
    async def run():
        async with InferenceGRPCClient(address, timeout=10) as client:
            return await ask(client)

    return asyncio.run(run())


def matches(response, known):
    for output in known.outputs:
        same(response.get_output_by_name(output).as_numpy(), known, output)


@pytest.mark.parametrize("model", ["bank", "grade", "kinds"])
@pytest.mark.parametrize("out", [True, False])
def test_rest_v2_binary(address, request, model, out):
    known = request.getfixturevalue(model)
    response = rest(address, "v2", lambda client, url: client.infer(url, asked(known, out=out), model_name=model))
    assert (response.id, response.model_name) == ("7", model)
    matches(response, known)


@pytest.mark.parametrize("model", ["bank", "grade", "kinds"])
def test_rest_v2_json(address, request, model):
    known = request.getfixturevalue(model)
    response = rest(address, "v2", lambda client, url: client.infer(url, asked(known, False, out=False), model_name=model))
    matches(response, known)


def test_rest_v2_of_a_plain_dictionary(address, bank):
    body = bank.v2(["margin"])
    response = rest(address, "v2", lambda client, url: client.infer(url, body, model_name="bank"))
    assert response.outputs[0].data == bank.outputs["margin"]


def test_rest_v1(address, bank, grade):
    rows = {"instances": bank.rows}
    reply = rest(address, "v1", lambda client, url: client.infer(url, rows, model_name="bank"))
    assert reply == {"predictions": bank.outputs["probability"]}
    named = {"instances": grade.records()}
    reply = rest(address, "v1", lambda client, url: client.infer(url, named, model_name="grade"))
    assert reply == {"predictions": grade.outputs["probabilities"]}


def test_rest_health(address):
    assert rest(address, "v2", lambda client, url: client.is_server_live(url)) is True
    assert rest(address, "v2", lambda client, url: client.is_server_ready(url)) is True
    assert rest(address, "v2", lambda client, url: client.is_model_ready(url, "bank")) is True
    assert rest(address, "v2", lambda client, url: client.is_model_ready(url, "nothing")) is False
    assert rest(address, "v1", lambda client, url: client.is_model_ready(url, "bank")) is True
    assert rest(address, "v1", lambda client, url: client.is_server_live(url)) is True


def test_rest_errors_are_our_words(address, bank):
    def refused(protocol, data, model, status, *words):
        with pytest.raises(httpx.HTTPStatusError) as error:
            rest(address, protocol, lambda client, url: client.infer(url, data, model_name=model))
        assert error.value.response.status_code == status
        for word in words:
            assert word in str(error.value), error.value

    refused("v2", asked(bank), "nothing", 404, "'nothing'")
    refused("v2", asked(bank, outputs=["margins"]), "bank", 400, "'bank'", "'margins'", "'probability'")
    wrong = InferInput("age", [2], "BYTES", data=["old", "young"])
    refused("v2", InferRequest("bank", [wrong]), "bank", 400, "'bank'", "'age'")
    refused("v1", {"instances": [{"age": "old"}]}, "bank", 400, "'bank'", "'age'", "row 0")
    with pytest.raises(httpx.HTTPStatusError, match="'nothing'"):
        rest(address, "v1", lambda client, url: client.is_model_ready(url, "nothing"))


@pytest.mark.parametrize("model", ["bank", "grade", "kinds"])
@pytest.mark.parametrize("binary", [True, False])
def test_grpc(address, request, model, binary):
    known = request.getfixturevalue(model)
    response = over_grpc(address, lambda client: client.infer(asked(known, binary)))
    assert (response.id, response.model_name) == ("7", model)
    matches(response, known)


def test_grpc_health_and_errors(address, bank):
    async def ask(client):
        assert await client.is_server_ready() and await client.is_server_live() and await client.is_model_ready("bank")
        with pytest.raises(grpc.RpcError) as error:
            await client.infer(asked(bank, outputs=["margins"]))
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT and "'margins'" in error.value.details()
        with pytest.raises(grpc.RpcError) as error:
            await client.infer(InferRequest("nothing", asked(bank).inputs))
        assert error.value.code() == grpc.StatusCode.NOT_FOUND and "'nothing'" in error.value.details()

    over_grpc(address, ask)
