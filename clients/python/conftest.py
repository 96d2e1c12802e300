"""The running system, and what is known of its models. Every test runs directly at the backend and through the gateway."""

import json
import os
import struct
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from system import System  # noqa: E402


@dataclass
class Known:
    """A model: what goes in, some rows, and what comes out for them, to the bit."""

    name: str
    inputs: list
    rows: list
    outputs: dict

    @property
    def names(self):
        return [i["name"] for i in self.inputs]

    def column(self, name):
        return [row[self.names.index(name)] for row in self.rows]

    def v2(self, outputs):
        """The call as the Open Inference Protocol writes it in JSON, asking for these outputs."""
        tensors = [{**i, "shape": [len(self.rows)], "data": self.column(i["name"])} for i in self.inputs]
        return {"inputs": tensors, "outputs": [{"name": name} for name in outputs]}

    def records(self):
        return [dict(zip(self.names, row)) for row in self.rows]


@pytest.fixture(scope="session")
def system():
    """Addresses and models; started here unless system.py did."""
    if named := os.environ.get("HEADGATE_SYSTEM"):
        yield json.loads(Path(named).read_text())
        return
    with System() as started:
        yield json.loads(started.file.read_text())


@pytest.fixture(params=["direct", "gateway"])
def address(request, system):
    """host:port, of the backend and of the gateway."""
    return system[request.param]


@pytest.fixture
def port(address):
    return int(address.rsplit(":", 1)[1])


@pytest.fixture(scope="session")
def bank(system):
    """A forest of two classes."""
    return served(system, "bank")


@pytest.fixture(scope="session")
def grade(system):
    """A forest of three classes."""
    return served(system, "grade")


@pytest.fixture(scope="session")
def kinds(system):
    """Code with inputs and outputs of all kinds."""
    return Known("kinds", **system["models"]["kinds"])


def served(system, name):
    """What the backend's plainest door says, once it is known to agree with LightGBM: margins to the bit, values within
    two units in the last place (C libraries differ in `exp`)."""
    known = Known(name, **system["models"][name])
    body = json.dumps(known.v2(known.outputs)).encode()
    reply = urllib.request.urlopen(f"http://{system['direct']}/v2/models/{name}/infer", body, timeout=30)
    tensors = {output["name"]: output for output in json.load(reply)["outputs"]}
    assert flat(known.outputs["margin"]) == tensors["margin"]["data"]
    for output, values in known.outputs.items():
        got = tensors[output]["data"]
        assert len(got) == len(flat(values))
        assert max(abs(ordered(a) - ordered(b)) for a, b in zip(flat(values), got)) <= 2
        width = len(got) // len(known.rows)
        known.outputs[output] = [got[at : at + width] for at in range(0, len(got), width)] if width > 1 else got
    return known


def flat(values):
    return [cell for row in values for cell in row] if isinstance(values[0], list) else values


def ordered(value):
    """Neighbouring floats are neighbouring integers."""
    (bits,) = struct.unpack("<q", struct.pack("<d", value))
    return bits if bits >= 0 else -(2**63) - bits
