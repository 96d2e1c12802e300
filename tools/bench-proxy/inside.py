"""What a request costs each server of a plan beside processor time: system calls (perf, else strace), allocations
(allocations.c before the C library's own), and the memory that an idle client's connection takes.

    inside.py OUT LOADTESTS SECONDS [--servers a,b]
"""

import argparse
import contextlib
import json
import pathlib
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

from started import Failed, Started, end_on_signals, say

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "bench-serving"))
import allocations

CLIENTS = 64
IDLE_CONNECTIONS = 2_000
# What each kind of system call is called by the kernel.
KINDS = {
    "send": ["sendto", "sendmsg", "sendmmsg", "write", "writev"],
    "receive": ["recvfrom", "recvmsg", "recvmmsg", "read", "readv"],
    "wait": ["epoll_wait", "epoll_pwait", "epoll_ctl", "futex"],
}
ALL = "raw_syscalls:sys_enter"


def events():
    """What perf counts: all system calls, and those of each kind that this kernel has."""
    known = pathlib.Path("/sys/kernel/tracing/events/syscalls")
    names = [name for names in KINDS.values() for name in names if (known / f"sys_enter_{name}").exists()]
    return [ALL, *(f"syscalls:sys_enter_{name}" for name in names)]


def read_perf(text, requests):
    """`perf stat -x,`: system calls a request, all and by kind; none where perf could not count."""
    counts = {}
    for line in text.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[0].strip().isdigit():
            counts[fields[2]] = int(fields[0])
    if ALL not in counts:
        return None
    kinds = {kind: sum(counts.get(f"syscalls:sys_enter_{n}", 0) for n in names) / requests for kind, names in KINDS.items()}
    return {"all": counts[ALL] / requests} | kinds


def read_strace(text, requests):
    """`strace -c`: the same from its table, whose columns are: % time, seconds, usecs/call, calls, [errors], name."""
    counts = {}
    for line in text.splitlines():
        fields = line.split()
        if len(fields) >= 5 and fields[3].isdigit() and re.fullmatch(r"[\d.]+", fields[0]):
            counts[fields[-1]] = counts.get(fields[-1], 0) + int(fields[3])
    whole = sum(count for name, count in counts.items() if name != "total")
    if not whole:
        return None
    kinds = {kind: sum(counts.get(name, 0) for name in names) / requests for kind, names in KINDS.items()}
    return {"all": whole / requests} | kinds


def count_calls(command, read, pids, folder, drive):
    """System calls a request while `drive` runs, counted by a program that watches these processes."""
    out = folder / "calls.txt"
    watching = subprocess.Popen(
        [*command, "-o", out, "-p", ",".join(map(str, pids))], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)
        requests = drive()
    finally:
        # On an interrupt they write what they have.
        watching.send_signal(signal.SIGINT)
        watching.wait(timeout=30)
    return read(out.read_text(), requests) if out.exists() else None


def calls(started, seconds, core, folder):
    """System calls a request, by perf, else by strace, with which everything takes several times as long."""
    pids = [pid for pids in started.own().values() for pid in pids]
    ways = [
        ("perf", ["stat", "-x,", "-e", ",".join(events())], read_perf), ("strace", ["-f", "-c"], read_strace),
    ]
    for name, words, read in ways:
        program = shutil.which(name)
        if program:
            each = count_calls([program, *words], read, pids, folder, lambda: started.drive(seconds, CLIENTS, core))
            if each:
                return {"by": name} | each
    raise Failed("neither perf nor strace is there, or may be used (on Debian: sudo apt-get install linux-perf)")


def allocated(server, out, loadtests, library, seconds, core):
    """Allocations a request, and bytes that they ask for."""
    counts = {p["name"]: out / f"allocations-{p['name']}.counts" for p in server["processes"]}
    for path in counts.values():
        path.unlink(missing_ok=True)
    preload = {"LD_PRELOAD": str(library), "ALLOCATIONS_FILE": str(out / "allocations-@name@.counts")}
    with Started(server, out / "logs", loadtests, **preload) as started:
        started.drive(0.5, CLIENTS, core)
        before = [allocations.read(counts[name]) for name in started.own() if counts[name].exists()]
        requests = started.drive(seconds, CLIENTS, core)
        after = [allocations.read(counts[name]) for name in started.own() if counts[name].exists()]
    each = [sum(b[what] - a[what] for a, b in zip(before, after)) / requests for what in (0, 1)]
    if each[0] < 0.05:
        raise Failed("it asks the C library for nothing: it has an allocator of its own, or keeps what it has")
    return {"allocations": each[0], "bytes": each[1]}


def idle_connections(started):
    """Resident memory of one connection that has served a request and waits, in bytes."""
    before = started.resident_bytes()
    with contextlib.ExitStack() as held:
        for _ in range(IDLE_CONNECTIONS):
            connection = held.enter_context(socket.create_connection(started.address(), timeout=10))
            connection.sendall(started.request())
            if not connection.recv(65536).startswith(b"HTTP/1.1 200"):
                raise Failed("a connection was not answered")
        time.sleep(0.5)
        return (started.resident_bytes() - before) / IDLE_CONNECTIONS


def attempt(found, what, look):
    """Looks, and says by name what can't be looked at."""
    try:
        found[what] = look()
    except (Failed, OSError, subprocess.SubprocessError) as why:
        found[what] = {"left_out": str(why)}


def measure(server, out, loadtests, library, seconds, core):
    found = {}
    try:
        with Started(server, out / "logs", loadtests) as started:
            started.drive(0.5, CLIENTS, core)
            attempt(found, "calls", lambda: calls(started, seconds, core, out))
            attempt(found, "idle_connection_bytes", lambda: idle_connections(started))
    except Failed as why:
        return {"left_out": str(why)}
    attempt(found, "allocated", lambda: allocated(server, out, loadtests, library, seconds, core))
    return found


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("out", type=lambda path: pathlib.Path(path).resolve())
    arguments.add_argument("loadtests", type=lambda path: pathlib.Path(path).resolve())
    arguments.add_argument("seconds", type=float)
    arguments.add_argument("--servers", type=lambda text: text.split(","))
    given = arguments.parse_args()
    end_on_signals()
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(20_000, limits[1]), limits[1]))
    core = json.loads((given.out / "cores.json").read_text())["driver"]
    library = given.out / "allocations.so"
    allocations.build(library)
    found = {}
    for server in json.loads((given.out / "plan.json").read_text())["servers"]:
        if given.servers and server["name"] not in given.servers:
            continue
        say(f"system calls, allocations, memory: {server['name']}")
        found[server["name"]] = measure(server, given.out, given.loadtests, library, given.seconds, core)
    (given.out / "inside.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
