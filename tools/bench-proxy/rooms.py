"""Where each microsecond of a request goes in Headgate's own processes: `perf record` while they are loaded, each sample put
into a room by what the processor was doing.

    rooms.py OUT LOADTESTS SECONDS
"""

import collections
import json
import pathlib
import re
import shutil
import subprocess
import sys

from started import Failed, Started, cpu_s, end_on_signals, say

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "bench-engine"))
from report import table

OURS = "headgate"
CLIENTS = 64
# More of them cost a tenth of the time and more.
SAMPLES_A_SECOND = 999
# Rooms with less are put together.
SHOWN_LEAST = 0.005
# A system call's names in the kernel, which leaves out those that end in a call of the next, and its room.
ENTRY = r"^__(x64|arm64|ia32)_sys_"
CALLS = [
    (ENTRY + r"(send\w*|write|writev)$|^(__sys_send\w*|___sys_sendmsg|ksys_write|do_writev)$", "kernel: send"),
    (ENTRY + r"(recv\w*|read|readv)$|^(__sys_recv\w*|___sys_recvmsg|ksys_read|do_readv)$", "kernel: receive"),
    (ENTRY + r"epoll_\w+$|^(do_epoll_wait|do_epoll_ctl)$", "kernel: epoll"),
    (ENTRY + r"futex\w*$|^do_futex$", "kernel: futex"),
    (ENTRY + r"(accept4?|connect|close|shutdown|socket|setsockopt)$", "kernel: connections"),
    (ENTRY + r"\w+$", "kernel: other calls"),
]
# Over loopback a send carries the bytes to the receiver's socket, and wakes it, before it returns.
DELIVERY = re.compile(r"^(net_rx_action|__do_softirq|handle_softirqs|process_backlog|tcp_v4_rcv)$")
CRATE = re.compile(r"(?<![A-Za-z0-9_:])([a-z][a-z0-9_]*)::")
STANDARD = {"core", "alloc", "std", "hashbrown", "rustc_demangle"}
TOGETHER = [
    (r"^(hyper|hyper_util|httparse|http|http_body|http_body_util|httpdate)$", "hyper, http"),
    (r"^(tokio|tokio_util|mio|parking_lot\w*|futures\w*|pin_project\w*)$", "tokio"),
    (r"^(tracing\w*|sharded_slab|thread_local)$", "log"),
    (r"^(metrics\w*|quanta)$", "metrics"),
    (r"^(serde\w*|ryu|itoa|zmij)$", "JSON"),
    (r"^bytes$", "bytes"),
    (r"^pingora\w*$", "pingora"),
]
ALLOCATOR = re.compile(
    r"malloc|calloc|realloc|memalign|(^|_)c?free$|_int_free|tcache|unlink_chunk|consolidate|__rust_(de|re)?alloc")
# An address, a symbol, and in brackets the file, whose name may have brackets too.
FRAME = re.compile(r"\s*[0-9a-f]+ (.*) \(([^()]*(?:\([^()]*\))?[^()]*)\)$")


def room_of(frames):
    """The room of one sample: `frames` are (symbol, file), the innermost first."""
    symbol, file = frames[0]
    if "kernel" in file or file.startswith("["):
        if "vdso" in file:
            return "clock"
        symbols = [name for name, _ in frames]
        for pattern, room in CALLS:
            if any(re.search(pattern, name) for name in symbols):
                delivers = room.endswith("send") and any(map(DELIVERY.match, symbols))
                return "kernel: delivery within send" if delivers else room
        faults = any("page_fault" in name for name in symbols)
        return "kernel: page faults" if faults else "kernel: interrupts, scheduling"
    if ALLOCATOR.search(symbol):
        return "allocator"
    if re.search(r"/libc[.-]|/ld-", file):
        return "copying" if re.search(r"mem(cpy|move|set|cmp|chr)", symbol) else "C library"
    for crate in CRATE.findall(symbol.replace("$LT$", " ").replace("..", "::")):
        if crate in STANDARD:
            continue
        return next((room for pattern, room in TOGETHER if re.match(pattern, crate)), crate)
    return "standard library" if "::" in symbol else "other"


def samples(text):
    """What `perf script -F pid,period,ip,sym,dso` prints: process, weight and frames of each sample."""
    for block in re.split(r"\n\s*\n", text):
        lines = block.strip("\n").splitlines()
        head = re.match(r"\s*(\d+)\s+(\d+)", lines[0]) if lines else None
        frames = [found.groups() for found in map(FRAME.match, lines[1:]) if found]
        if head and frames:
            yield int(head[1]), int(head[2]), frames


def shares(text):
    """By process the share of each room, and of the symbols that take most."""
    rooms, symbols = (collections.defaultdict(collections.Counter) for _ in range(2))
    for pid, weight, frames in samples(text):
        rooms[pid][room_of(frames)] += weight
        symbols[pid][frames[0][0]] += weight
    whole = {pid: sum(counts.values()) for pid, counts in rooms.items()}

    def of(counts, most):
        return {pid: {name: w / whole[pid] for name, w in c.most_common(most)} for pid, c in counts.items()}

    return of(rooms, None), of(symbols, 25)


def profile(server, out, loadtests, seconds, core):
    perf = shutil.which("perf")
    if not perf:
        raise Failed("perf is not installed (on Debian: sudo apt-get install linux-perf)")
    data = out / "profile.data"
    with Started(server, out / "logs", loadtests) as started:
        started.drive(1, CLIENTS, core)
        own = started.own()
        everyone = ",".join(str(pid) for pids in own.values() for pid in pids)
        # Without perf, which costs time itself.
        before = {name: cpu_s(pids) for name, pids in own.items()}
        requests = started.drive(seconds / 2, CLIENTS, core)
        each_us = {name: (cpu_s(pids) - before[name]) * 1e6 / requests for name, pids in own.items()}
        words = ["record", "-q", "-F", str(SAMPLES_A_SECOND), "-g", "-o", data, "-p", everyone]
        recording = subprocess.Popen([perf, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            started.drive(seconds, CLIENTS, core)
        finally:
            recording.terminate()
            recording.wait(timeout=60)
    asked = [perf, "script", "-i", data, "-F", "pid,period,ip,sym,dso"]
    script = subprocess.run(asked, capture_output=True, text=True, errors="replace", check=False)
    rooms, symbols = shares(script.stdout)
    if not rooms:
        raise Failed("perf recorded nothing: " + (script.stderr.strip().splitlines() or ["no sample"])[-1])
    found = {}
    for name, pids in own.items():
        pid = max(pids, key=lambda pid: sum(rooms.get(pid, {}).values()))
        found[name] = {"cpu_us": each_us[name], "rooms": rooms.get(pid, {}), "symbols": symbols.get(pid, {})}
    return found


def rooms_table(name, process):
    """Microseconds of a request by room; small ones in one line."""
    large = {room: share for room, share in process["rooms"].items() if share >= SHOWN_LEAST}
    large["all else"] = 1 - sum(large.values())
    rows = [[room, f"{share * process['cpu_us']:.2f}", f"{share:.1%}"] for room, share in large.items()]
    return table([f"{name}: {process['cpu_us']:.1f} us a request", "us", "share"], rows)


def main(out, loadtests, seconds):
    out, loadtests = pathlib.Path(out).resolve(), pathlib.Path(loadtests).resolve()
    end_on_signals()
    core = json.loads((out / "cores.json").read_text())["driver"]
    server = next(s for s in json.loads((out / "plan.json").read_text())["servers"] if s["name"] == OURS)
    say("profile")
    try:
        found = profile(server, out, loadtests, float(seconds), core)
    except Failed as why:
        say(f"left out: the profile: {why}")
        return
    (out / "profile.json").write_text(json.dumps(found, indent=1))
    head = f"Where each microsecond goes at {CLIENTS} clients, shares by perf:"
    text = "\n\n".join([head, *(rooms_table(name, process) for name, process in found.items())]) + "\n"
    (out / "profile.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main(*sys.argv[1:])
