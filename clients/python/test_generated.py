"""Clients that openapi-generator, protoc and proto-loader write, in Go, Java and TypeScript: the same scores, to the bit,
and errors in our words. A language whose tools or downloads are missing is skipped by name."""

import fcntl
import functools
import json

import pytest
from generated import LANGUAGES, RUN_S, TARGET, Missing, run


@pytest.fixture(scope="session")
def language(system):
    """Makes each language's build folder once; no other run builds there meanwhile."""
    TARGET.mkdir(parents=True, exist_ok=True)
    with open(TARGET / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield functools.cache(lambda name: LANGUAGES[name](name, system["direct"]))


@pytest.fixture(scope="session")
def expected(bank, tmp_path_factory):
    """What the programs compare with, as a file."""
    file = tmp_path_factory.mktemp("expected") / "bank.json"
    file.write_text(json.dumps({
        "model": bank.name, "unknown": "nobody/JFK", "inputs": bank.names, "rows": bank.records(),
        "output": "probability", "scores": bank.outputs["probability"],
    }))
    return file


@pytest.mark.parametrize("door", ["openapi", "model", "grpc"])
@pytest.mark.parametrize("name", LANGUAGES)
def test_a_generated_client_gets_the_same_scores(language, expected, address, name, door):
    try:
        command = language(name).built(door)
    except Missing as missing:
        pytest.skip(f"{name}: {missing}")
    run([*command, address, expected], TARGET, RUN_S)
