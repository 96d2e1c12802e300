"""What grows in Headgate's own processes over a million requests, and over a hundred thousand connections.

    soak.py OUT LOADTESTS
"""

import json
import pathlib
import socket
import sys

from started import Failed, Started, end_on_signals, say

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "bench-engine"))
from report import table

OURS = "headgate"
REQUESTS, CONNECTIONS = 1_000_000, 100_000
CLIENTS = 64
# What grows in the first tenth is warming up.
WARM = 0.1
# A port is not used again for a minute: connections come from several of loopback's addresses.
ADDRESSES = 8


def requests(started, core):
    """Resident memory after so many requests each."""
    seen, done = [], 0
    while done < REQUESTS:
        done += started.drive(2, CLIENTS, core)
        seen.append((done, started.resident_bytes()))
        say(f"soak: {done:,} requests, {seen[-1][1] / 2**20:.1f} MiB")
    return seen


def connections(started):
    """Resident memory after so many connections each, of one request."""
    request, seen = started.request(), []
    for at in range(1, CONNECTIONS + 1):
        source = (f"127.0.0.{2 + at % ADDRESSES}", 0)
        with socket.create_connection(started.address(), timeout=10, source_address=source) as connection:
            connection.sendall(request)
            if not connection.recv(65536).startswith(b"HTTP/1.1 200"):
                raise Failed(f"connection {at} was not answered")
        if at % (CONNECTIONS // 20) == 0:
            seen.append((at, started.resident_bytes()))
            say(f"soak: {at:,} connections, {seen[-1][1] / 2**20:.1f} MiB")
    return seen


def growth(seen):
    """Bytes that came after the warm-up, and for each of what came."""
    last = seen[-1]
    first = next(one for one in seen if one[0] >= last[0] * WARM)
    grown = last[1] - first[1]
    return {"from": first[0], "to": last[0], "grown_bytes": grown, "each_bytes": grown / max(last[0] - first[0], 1)}


def main(out, loadtests):
    out, loadtests = pathlib.Path(out).resolve(), pathlib.Path(loadtests).resolve()
    end_on_signals()
    core = json.loads((out / "cores.json").read_text())["driver"]
    server = next(s for s in json.loads((out / "plan.json").read_text())["servers"] if s["name"] == OURS)
    with Started(server, out / "logs", loadtests) as started:
        found = {"requests": growth(requests(started, core)), "connections": growth(connections(started))}
    (out / "soak.json").write_text(json.dumps(found, indent=1))
    rows = [
        [what, f"{one['from']:,} - {one['to']:,}", f"{one['grown_bytes'] / 2**20:.2f}", f"{one['each_bytes']:.2f}"]
        for what, one in found.items()
    ]
    text = table(["resident memory that came", "between", "MiB", "bytes each"], rows) + "\n"
    (out / "soak.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
