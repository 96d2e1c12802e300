"""Plain grpcio: reflection, the health service, and calls built from what reflection says, with no stub of ours."""

import struct

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "inference.GRPCInferenceService"


@pytest.fixture
def channel(address):
    with grpc.insecure_channel(address) as channel:
        yield channel


class Reflected:
    """Methods of a service as the server describes them."""

    def __init__(self, channel):
        self.channel = channel
        self.database = ProtoReflectionDescriptorDatabase(channel)
        pool = descriptor_pool.DescriptorPool(self.database)
        self.methods = pool.FindServiceByName(SERVICE).methods_by_name

    def call(self, name, fields=None, raw=None, **options):
        """Calls with fields, or with the bytes of a message."""
        method = self.methods[name]
        request = message_factory.GetMessageClass(method.input_type)
        reply = message_factory.GetMessageClass(method.output_type)
        serialize = request.SerializeToString if raw is None else (lambda message: message)
        call = self.channel.unary_unary(f"/{SERVICE}/{name}", serialize, reply.FromString)
        return call(request(**(fields or {})) if raw is None else raw, timeout=10, **options)


@pytest.fixture
def reflected(channel):
    return Reflected(channel)


def typed(known, model):
    """The request with typed contents, as clients without NumPy send it."""
    contents = {"FP64": "fp64_contents", "FP32": "fp32_contents", "INT64": "int64_contents", "BOOL": "bool_contents"}
    tensors = []
    for tensor in known.inputs:
        values = known.column(tensor["name"])
        if tensor["datatype"] == "BYTES":
            data = {"bytes_contents": [(value or "").encode() for value in values]}
        else:
            data = {contents[tensor["datatype"]]: [float("nan") if value is None else value for value in values]}
        tensors.append({**tensor, "shape": [len(values)], "contents": data})
    return {"model_name": model, "inputs": tensors, "outputs": [{"name": name} for name in known.outputs]}


def values_of(reply):
    """name -> values, wherever the reply has them."""
    found = {}
    for at, tensor in enumerate(reply.outputs):
        if reply.raw_output_contents:
            found[tensor.name] = unpacked(tensor.datatype, reply.raw_output_contents[at])
        else:
            (contents,) = (values for _, values in tensor.contents.ListFields())
            found[tensor.name] = list(contents)
    return found


def unpacked(datatype, raw):
    if datatype != "BYTES":
        letter = {"FP64": "d", "FP32": "f", "INT64": "q", "BOOL": "?"}[datatype]
        return list(struct.unpack(f"<{len(raw) // struct.calcsize(letter)}{letter}", raw))
    texts = []
    while raw:
        (length,) = struct.unpack_from("<I", raw)
        texts.append(raw[4 : 4 + length])
        raw = raw[4 + length :]
    return texts


def test_reflection_lists_services(reflected):
    services = set(reflected.database.get_services())
    assert {SERVICE, "grpc.health.v1.Health"} <= services
    assert {"ModelInfer", "ModelStreamInfer", "ModelStatistics", "RepositoryIndex"} <= set(reflected.methods)


@pytest.mark.parametrize("model", ["bank", "grade", "kinds"])
def test_a_call_with_typed_contents(reflected, request, model):
    known = request.getfixturevalue(model)
    reply = reflected.call("ModelInfer", typed(known, model))
    assert (reply.model_name, reply.model_version) == (model, "1")
    found = values_of(reply)
    assert list(found) == list(known.outputs)
    for output, values in known.outputs.items():
        wanted = [cell for row in values for cell in row] if isinstance(values[0], list) else values
        got = [value.decode() if isinstance(value, bytes) else value for value in found[output]]
        assert got == wanted


def test_metadata_says_who_answered(reflected, bank):
    method = reflected.methods["ModelInfer"]
    request, reply = (message_factory.GetMessageClass(t) for t in (method.input_type, method.output_type))
    call = reflected.channel.unary_unary(f"/{SERVICE}/ModelInfer", request.SerializeToString, reply.FromString)
    _, info = call.with_call(request(**typed(bank, "bank")), timeout=10, metadata=[("x-request-id", "abc")])
    said = dict(info.initial_metadata())
    assert said["x-headgate-version"] == "1" and said["x-request-id"] == "abc"


def test_health(channel):
    health = health_pb2_grpc.HealthStub(channel)
    serving = health_pb2.HealthCheckResponse.SERVING
    for service in ("", SERVICE):
        assert health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10).status == serving
    with pytest.raises(grpc.RpcError) as error:
        health.Check(health_pb2.HealthCheckRequest(service="nothing"), timeout=10)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    watch = health.Watch(health_pb2.HealthCheckRequest(), timeout=10)
    assert next(watch).status == serving
    watch.cancel()


def refused(call, code, *words):
    with pytest.raises(grpc.RpcError) as error:
        call()
    assert error.value.code() == code, error.value
    for word in words:
        assert word in error.value.details(), error.value


INVALID, TOO_LARGE = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.RESOURCE_EXHAUSTED


def age(datatype="FP64", shape=(2,), raw=None, **contents):
    tensor = {"name": "age", "datatype": datatype, "shape": list(shape)}
    fields = {"model_name": "bank", "inputs": [tensor | ({"contents": contents} if contents else {})]}
    return fields | ({"raw_input_contents": [raw]} if raw is not None else {})


WRONG = {
    "too few values": (age(fp64_contents=[1.0]), ["'age'", "1", "2"]),
    "too many values": (age(fp64_contents=[1.0, 2.0, 3.0]), ["'age'", "2"]),
    "values of another type": (age(int64_contents=[1, 2]), ["'age'", "FP64"]),
    "raw is short": (age(raw=b"\0" * 15), ["'age'", "15", "16"]),
    "raw is long": (age(raw=b"\0" * 17), ["'age'", "17", "16"]),
    "raw and typed": (age(raw=b"\0" * 16, fp64_contents=[1.0, 2.0]), ["raw"]),
    "raw without tensors": ({"model_name": "bank", "raw_input_contents": [b"12345678"]}, ["input"]),
    "more raw than tensors": (age(raw=b"\0" * 16) | {"raw_input_contents": [b"\0" * 16] * 2}, ["raw", "2", "1"]),
    "a size below zero": (age(shape=(-2,), fp64_contents=[1.0, 2.0]), ["'age'", "-2"]),
    "sizes that overflow": (age(shape=(2**62, 2**62), raw=b""), ["'age'"]),
    "an unknown datatype": (age("FP65", fp64_contents=[1.0, 2.0]), ["'age'", "FP65"]),
    "a text that overruns": (age("BYTES", raw=struct.pack("<I", 2**31) + b"old"), ["'age'"]),
    "no tensors": ({"model_name": "bank"}, ["'bank'"]),
    "no model": ({}, ["model"]),
    "twice the same": ({"model_name": "bank", "inputs": age(fp64_contents=[1.0, 2.0])["inputs"] * 2}, ["'age'"]),
}


@pytest.mark.parametrize("what", WRONG)
def test_bad_input_is_named(reflected, bank, what):
    fields, words = WRONG[what]
    refused(lambda: reflected.call("ModelInfer", fields), INVALID, *words)
    assert values_of(reflected.call("ModelInfer", typed(bank, "bank")))["margin"] == bank.outputs["margin"]


@pytest.mark.parametrize("raw", [b"\xff\xff\xff", b"\x0a\x7f", b"\x2a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"])
def test_what_is_no_message_is_refused(reflected, bank, raw):
    refused(lambda: reflected.call("ModelInfer", raw=raw), INVALID)
    assert values_of(reflected.call("ModelInfer", typed(bank, "bank")))["margin"] == bank.outputs["margin"]


def test_a_message_over_the_bound(reflected, bank):
    refused(lambda: reflected.call("ModelInfer", raw=b"\x1a" + b"\x84\x80\x80\x28" + b"x" * (80 << 20)), TOO_LARGE)
    assert values_of(reflected.call("ModelInfer", typed(bank, "bank")))["margin"] == bank.outputs["margin"]


def test_a_method_that_is_not_there(channel):
    call = channel.unary_unary(f"/{SERVICE}/Explode", lambda message: message, lambda message: message)
    refused(lambda: call(b"", timeout=10), grpc.StatusCode.UNIMPLEMENTED)
