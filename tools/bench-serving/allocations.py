"""Counts how often a backend allocates to answer a call: the release program itself, with allocations.c before the C
library's own functions. One client on one connection; what the backend does beside calls is measured first and taken off.

    allocations.py OUT
"""

import http.client
import json
import os
import pathlib
import struct
import subprocess
import sys
import time
import urllib.parse

CALLS = 5_000
IDLE_S = 2.0
READY_WITHIN_S = 30.0


def build(library):
    """Compiles what counts."""
    source = pathlib.Path(__file__).with_suffix(".c")
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", library, source], check=True)


def read(counts):
    """How many allocations there were so far, and how many bytes they asked for."""
    return struct.unpack("QQ", counts.read_bytes())


def post(connection, call, body):
    headers = {"content-type": "application/json"} | call["headers"]
    connection.request("POST", urllib.parse.urlsplit(call["url"]).path, body, headers)
    reply = connection.getresponse()
    return reply.status, reply.read()


def ready(connection, call, body):
    """Waits until the call is answered."""
    started = time.monotonic()
    while time.monotonic() - started < READY_WITHIN_S:
        try:
            if post(connection, call, body)[0] == 200:
                return
        except OSError:
            connection.close()
        time.sleep(0.1)
    raise SystemExit("allocations: the backend does not answer")


def measure(counts, connection, call, bodies, idle):
    """Allocations and bytes a call, less those of so many idle seconds."""
    for body in bodies * 2:
        try:
            status, words = post(connection, call, body)
        except OSError as why:
            # Refused before it was read.
            connection.close()
            return {"left_out": str(why)}
        if status != 200:
            connection.close()
            return {"left_out": f"{status}: {words[:300].decode(errors='replace')}"}
    before, started = read(counts), time.monotonic()
    for at in range(CALLS):
        post(connection, call, bodies[at % len(bodies)])
    seconds, after = time.monotonic() - started, read(counts)
    each = [(b - a - idle_a_second * seconds) / CALLS for a, b, idle_a_second in zip(before, after, idle)]
    if each[0] < 0.5:
        return {"left_out": "the program does not allocate through the C library"}
    return {"allocations": each[0], "bytes": each[1]}


def main(out):
    out = pathlib.Path(out).resolve()
    library, counts = out / "allocations.so", out / "allocations.counts"
    build(library)
    server = next(s for s in json.loads((out / "plan.json").read_text())["servers"] if s["name"] == "headgate")
    process, calls = server["processes"][0], server["calls"]
    variables = os.environ | {"LD_PRELOAD": str(library), "ALLOCATIONS_FILE": str(counts)}
    with open(out / "logs" / "allocations.log", "w") as log:
        running = subprocess.Popen([process["program"], *process["arguments"]], env=variables, stdout=log, stderr=log)
    try:
        address = urllib.parse.urlsplit(calls["json-1"]["url"]).netloc
        connection = http.client.HTTPConnection(address, timeout=10)
        bodies = {
            name: [path.read_bytes() for path in sorted(pathlib.Path(call["bodies"]).iterdir())] for name, call in calls.items()
        }
        ready(connection, calls["json-1"], bodies["json-1"][0])
        before = read(counts)
        time.sleep(IDLE_S)
        idle = [(b - a) / IDLE_S for a, b in zip(before, read(counts))]
        found = {name: measure(counts, connection, call, bodies[name], idle) for name, call in calls.items()}
    finally:
        running.terminate()
        running.wait(timeout=30)
    (out / "allocations.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main(sys.argv[1])
