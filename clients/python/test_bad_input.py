"""Bodies that lie, over plain HTTP and raw sockets: each is refused by name, and nobody else notices."""

import gzip
import json
import socket
import struct
import threading
import time
import zlib

import pytest
import requests

LENGTH = "inference-header-content-length"


def post(address, body, path="/v2/models/bank/infer", **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.post(f"http://{address}{path}", data=body, headers=headers, timeout=20)


def binary(tensors, blobs, **more):
    """A call with binary tensors; `tensors`: name, datatype, shape and the size that is claimed."""
    inputs = [
        {"name": name, "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": size}}
        for name, datatype, shape, size in tensors
    ]
    text = json.dumps({"inputs": inputs} | more).encode()
    return text + blobs, len(text)


@pytest.fixture
def serves(address, bank):
    """Asked after each test: is the server as it was?"""
    yield
    reply = requests.post(f"http://{address}/v2/models/bank/infer", json=bank.v2(["margin"]), timeout=10)
    assert reply.json()["outputs"][0]["data"] == bank.outputs["margin"]


pytestmark = pytest.mark.usefixtures("serves")
TWO = struct.pack("<2d", 41, 30)
TEXT = struct.pack("<I", 5) + b"clerk"

LIES = {
    "a blob too short": ([("age", "FP64", [2], 16)], TWO[:15], ["'age'"]),
    "bytes left over": ([("age", "FP64", [2], 16)], TWO + b"\0", ["1"]),
    "a size that the shape denies": ([("age", "FP64", [3], 16)], TWO, ["'age'", "16", "24"]),
    "a size beyond the body": ([("age", "FP64", [2**40], 2**43)], TWO, ["'age'"]),
    "a size below zero": ([("age", "FP64", [2], -16)], TWO, ["binary_data_size"]),
    "a size that is a text": ([("age", "FP64", [2], "16")], TWO, ["binary_data_size"]),
    "sizes that overflow together": ([("age", "FP64", [2], 2**63), ("balance", "FP64", [2], 2**63)], TWO, ["'age'"]),
    "a shape that overflows": ([("age", "FP64", [2**32, 2**32], 16)], TWO, ["'age'"]),
    "a shape below zero": ([("age", "FP64", [-2], 16)], TWO, ["'age'"]),
    "tensors of different lengths": ([("age", "FP64", [2], 16), ("campaign", "FP64", [1], 8)], TWO + TWO[:8], ["'campaign'"]),
    "an unknown datatype": ([("age", "FP65", [2], 16)], TWO, ["'age'", "FP65"]),
    "text for a number": ([("age", "BYTES", [1], 9)], TEXT, ["'age'"]),
    "a text longer than its tensor": ([("job", "BYTES", [1], 9)], struct.pack("<I", 6) + b"clerk", ["'job'"]),
    "a text of 4 GiB": ([("job", "BYTES", [1], 9)], struct.pack("<I", 2**32 - 1) + b"clerk", ["'job'"]),
    "a text's length cut off": ([("job", "BYTES", [2], 11)], TEXT + b"\0\0", ["'job'"]),
    "fewer texts than the shape": ([("job", "BYTES", [2], 9)], TEXT, ["'job'"]),
    "more texts than the shape": ([("job", "BYTES", [1], 18)], TEXT * 2, ["'job'"]),
    "a text that is not UTF-8": ([("job", "BYTES", [1], 6)], struct.pack("<I", 2) + b"\xff\xfe", ["'job'"]),
}


@pytest.mark.parametrize("what", LIES)
def test_binary_that_lies(address, what):
    tensors, blobs, words = LIES[what]
    body, length = binary(tensors, blobs)
    reply = post(address, body, **{LENGTH: str(length)})
    assert reply.status_code == 400, reply.text
    for word in ["'bank'", *words]:
        assert word in reply.json()["error"], reply.text


@pytest.mark.parametrize("length", ["-1", "many", "99999999999999999999", "1000", "3", ""])
def test_a_length_of_the_json_that_lies(address, length):
    body, _ = binary([("age", "FP64", [2], 16)], TWO)
    reply = post(address, body, **{LENGTH: length})
    assert reply.status_code == 400 and reply.json()["error"], reply.text


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compressed_bombs_and_scraps(address, coding):
    pack = gzip.compress if coding == "gzip" else zlib.compress
    bomb = pack(b" " * (96 << 20), 9)
    assert len(bomb) < 1 << 20
    reply = post(address, bomb, content_encoding=coding)
    assert reply.status_code == 413 and reply.json()["error"], reply.text
    whole = pack(json.dumps({"inputs": [{"name": "age", "shape": [1], "datatype": "FP64", "data": [4]}]}).encode())
    for body in (whole[:-6], whole[:9] + b"\xff\xff\xff" + whole[12:], b"no such thing", b""):
        reply = post(address, body, content_encoding=coding)
        assert reply.status_code == 400 and reply.json()["error"], reply.text


def test_an_unknown_coding(address):
    reply = post(address, b"{}", content_encoding="br")
    assert reply.status_code == 415 and "br" in reply.json()["error"]


DOCUMENTS = {
    "no JSON": (b"{", []),
    "nothing": (b"", []),
    "an array": (b"[]", []),
    "no inputs": (b"{}", ["'bank'"]),
    "no rows": (b'{"inputs": [{"name": "age", "shape": [0], "datatype": "FP64", "data": []}]}', ["'bank'"]),
    "a value too few": (b'{"inputs": [{"name": "age", "shape": [2], "datatype": "FP64", "data": [1]}]}', ["'age'", "1", "2"]),
    "a value too many": (b'{"inputs": [{"name": "age", "shape": [1], "datatype": "FP64", "data": [1, 2]}]}', ["'age'"]),
    "a text for a number": (b'{"inputs": [{"name": "age", "shape": [1], "datatype": "FP64", "data": ["old"]}]}', ["'age'", "row 0"]),
    "data beside binary": (
        b'{"inputs": [{"name": "age", "shape": [1], "datatype": "FP64", "data": [1], "parameters": {"binary_data_size": 8}}]}',
        ["'age'"],
    ),
    "an unknown output": (
        b'{"inputs": [{"name": "age", "shape": [1], "datatype": "FP64", "data": [1]}], "outputs": [{"name": "score"}]}',
        ["'bank'", "'score'", "'probability'"],
    ),
    "nested without end": (b'{"inputs": ' + b"[" * 100_000, []),
}


@pytest.mark.parametrize("what", DOCUMENTS)
def test_documents_that_are_wrong(address, what):
    body, words = DOCUMENTS[what]
    reply = post(address, body)
    assert reply.status_code == 400, reply.text
    for word in words:
        assert word in reply.json()["error"], reply.text
    assert len(reply.text) < 2000


def test_a_million_rows_are_refused_and_others_are_answered(address, bank):
    """More rows than a call may have; while they come, others ask."""
    longest, stop = [0.0], threading.Event()

    def ask():
        with requests.Session() as session:
            while not stop.is_set():
                began = time.monotonic()
                reply = session.post(f"http://{address}/v2/models/bank/infer", json=bank.v2(["margin"]), timeout=10)
                assert reply.json()["outputs"][0]["data"] == bank.outputs["margin"]
                longest[0] = max(longest[0], time.monotonic() - began)

    other = threading.Thread(target=ask)
    other.start()
    try:
        rows = 1_000_000
        many = json.dumps({"inputs": [{"name": "age", "shape": [rows], "datatype": "FP64", "data": [1] * rows}]}).encode()
        body, length = binary([("age", "FP64", [rows], 8 * rows)], bytes(8 * rows))
        for reply in (post(address, many), post(address, body, **{LENGTH: str(length)})):
            assert reply.status_code == 413 and "'bank'" in reply.json()["error"], reply.text
    finally:
        stop.set()
        other.join()
    assert longest[0] < 5


def test_a_body_that_never_comes_holds_nobody(address, port, bank):
    head = "POST /v2/models/bank/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n"
    held = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    for connection in held:
        connection.sendall(head.encode() + b'{"inputs"')
    reply = requests.post(f"http://{address}/v2/models/bank/infer", json=bank.v2(["margin"]), timeout=10)
    assert reply.json()["outputs"][0]["data"] == bank.outputs["margin"]
    for connection in held:
        connection.close()


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v2/models/bank/infer HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v2/models/bank/infer HTTP/1.1\r\nhost: x\r\ncontent-length: -5\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 64,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0" + b"\0\xff\xff\0\0\0\0\0\1" + bytes(65535),
    ],
)
def test_what_is_no_request(port, sent):
    """A refusal or an end, within the time of one who waits."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        said = b""
        try:
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                said += part
        except OSError as error:
            assert not isinstance(error, TimeoutError)
    assert not said.startswith(b"HTTP/1.1 2") and b" 500 " not in said[:20]
