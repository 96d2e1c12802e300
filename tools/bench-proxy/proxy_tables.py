"""From what was measured to tables (table.md, printed too) and one file of all figures (results.json).

    proxy_tables.py OUT
"""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "bench-engine"))
from report import number, table, times, verdict

OURS = "headgate"
TITLES = {
    "headgate": "**Headgate**",
    "headgate-http1": "Headgate, origin without link",
    "headgate-awake": "Headgate, busy_poll_us",
    "haproxy": "HAProxy",
    "nginx": "nginx",
    "envoy": "Envoy",
    "relay": "bytes passed on, no more",
}
# Ours beside the cheapest of these peers: at which load, how many times theirs it may at most be, and the goal.
RATIOS = [
    ("x16", ["haproxy", "nginx"], 1.05, 0.75),
    ("x64", ["haproxy", "nginx"], 0.8, 0.6),
    ("x256", ["haproxy", "nginx"], 0.8, 0.6),
    ("x64", ["envoy"], 0.25, 0.25),
]
# Cases by a schedule, in turns with calls past the server.
PACED = ["half load", "quarter load"]
# Microseconds that ours may add at half load.
ADDED = [("added_p50_us", 60), ("added_p99_us", 300)]
IDLE_BYTES_MAX = 20_000


class Figures:
    """All that was measured."""

    def __init__(self, out, titles):
        def read(name):
            path = out / name
            return json.loads(path.read_text()) if path.exists() else None

        self.run = read("serving.json")
        self.cells = {(cell["server"], cell["case"]): cell for cell in self.run["serving"]["cells"]}
        self.left_out = (read("left-out.json") or []) + self.run["serving"]["left_out"]
        self.inside = read("inside.json") or {}
        self.cores = read("cores.json")
        self.titles = titles
        # The origin notes each link that is opened to it.
        logs = {path.stem.removeprefix("origin-"): path.read_text() for path in (out / "logs").glob("origin-*.log")}
        self.linked = sorted(server for server, log in logs.items() if "link opened" in log)
        self.servers = [name for name in titles if any(server == name for server, _ in self.cells)]
        self.cases = list(dict.fromkeys(case for _, case in self.cells))

    def median(self, server, case, what="cpu_us"):
        cell = self.cells.get((server, case))
        return cell[what]["median"] if cell else None

    def busy(self, server, case):
        """Which part of its core a server used."""
        return self.median(server, case) * self.median(server, case, "per_s") / 1e6

    def past(self, server, case, what):
        """Microseconds of calls past a server, or what it adds to them: median, least and most of the rounds."""
        return self.cells.get((server, case), {}).get("past", {}).get(what)


def cheapest(figures, case, peers):
    """The cheapest of these that was measured, and what it takes."""
    found = [(us, peer) for peer in peers if (us := figures.median(peer, case)) is not None]
    return min(found) if found else None


def cpu_table(figures, cases):
    """CPU a request, how many times ours that is, the least and the most of the rounds, how busy it was."""
    def cell(server, case):
        us, ours = figures.median(server, case), figures.median(OURS, case)
        if us is None:
            return "-"
        ratio = f" ({times(us / ours)})" if ours and server != OURS else ""
        spread = figures.cells[server, case]["cpu_us"]
        return f"{number(us)}{ratio} [{number(spread['min'])}-{number(spread['max'])}] {figures.busy(server, case):.0%}"

    rows = [[figures.titles[server], *(cell(server, case) for case in cases)] for server in figures.servers]
    return table(["CPU us a request (times ours) [rounds] busy", *cases], rows)


def latency_table(figures, cases):
    """Latency as clients saw it."""
    rows = [[figures.titles[server], *(whole(figures, server, case) for case in cases)] for server in figures.servers]
    return table(["p50 / p99, us", *cases], rows)


def whole(figures, server, case):
    p50, p99 = (figures.median(server, case, what) for what in ("p50_us", "p99_us"))
    return "-" if p50 is None else f"{p50:.0f} / {p99:.0f}"


def paced_table(figures):
    """Latency where requests come by a schedule, and what of it the server added to what its origin takes."""
    rows = []
    for case in PACED:
        for server in figures.servers:
            if figures.past(server, case, "p50_us") is None:
                continue
            past = [figures.past(server, case, what)["median"] for what in ("p50_us", "p99_us")]
            added = [figures.past(server, case, what) for what, _ in ADDED]
            rows.append([
                case, figures.titles[server], whole(figures, server, case), f"{past[0]:.0f} / {past[1]:.0f}",
                " / ".join(f"{us['median']:.0f}" for us in added),
                " / ".join(f"{us['min']:.0f}-{us['max']:.0f}" for us in added), f"{figures.median(server, case, 'per_s'):,.0f}",
                f"{figures.busy(server, case):.0%}", f"{figures.median(server, case, 'disturbed'):.0%}",
            ])
    head = ["by a schedule, p50 / p99, us", "", "through it", "past it", "**added**", "[rounds]", "requests a second", "busy", "left out"]
    return table(head, rows) if rows else ""


def inside_table(figures):
    """System calls, allocations and memory."""
    def told(value, show):
        return "-" if value is None or isinstance(value, dict) and "left_out" in value else show(value)

    rows = []
    for server in figures.servers:
        found = figures.inside.get(server)
        if not found:
            continue
        calls = found.get("calls")
        kinds = told(calls, lambda c: f"{c['send']:.2f} + {c['receive']:.2f} + {c['wait']:.2f}")
        rows.append([
            figures.titles[server], told(calls, lambda c: f"{c['all']:.2f}"), kinds,
            told(found.get("allocated"), lambda a: f"{a['allocations']:.1f}"),
            told(found.get("allocated"), lambda a: f"{a['bytes'] / 1024:.1f}"),
            told(found.get("idle_connection_bytes"), lambda b: f"{b / 1000:.1f}"),
        ])
    head = [
        "a request, 64 clients", "system calls", "send + receive + wait", "allocations", "KiB asked for", "idle connection, KB",
    ]
    return table(head, rows) if rows else ""


def ratio_musts(figures, ratios, must):
    """Each must that is a ratio, with what came; what was not measured is left out."""
    for case, peers, most, goal in ratios:
        ours, best = figures.median(OURS, case), cheapest(figures, case, peers)
        if ours and best:
            ratio = ours / best[0]
            what = f"{case}: our CPU / {figures.titles[best[1]]}"
            must(what, times(ratio), f"<= {most} x", f"<= {goal} x", ratio <= most, ratio <= goal)


def musts_table(fill):
    """The table of what must hold; `fill` calls what it gets for each."""
    rows = []

    def must(what, came, must, goal, met, reached):
        rows.append([what, came, must, verdict(met), goal, verdict(reached) if goal else ""])

    fill(must)
    return table(["what", "came", "must", "", "goal", ""], rows) if rows else "nothing of what must hold was measured"


def musts(figures, must):
    ratio_musts(figures, RATIOS, must)
    for what, most in ADDED:
        us = figures.past(OURS, "half load", what)
        if us is not None:
            must(f"half load: {what[:9].replace('_', ' ')}", f"{us['median']:.0f} us", f"< {most} us", "", us["median"] < most, True)
    idle = figures.inside.get(OURS, {}).get("idle_connection_bytes")
    if isinstance(idle, (int, float)):
        small = idle < IDLE_BYTES_MAX
        must("an idle client's connection", f"{idle / 1000:.1f} KB", f"< {IDLE_BYTES_MAX / 1000:.0f} KB", "", small, small)


def failures(figures):
    """What failed and what was left out, in words."""
    lines = []
    for (server, case), cell in figures.cells.items():
        if cell["failed"]:
            lines.append(f"- {server}, {case}: {cell['failed']} of {cell['requests']} requests failed: {cell['failures'][0]}")
    for left in figures.left_out:
        case = f", {left['case']}" if left["case"] else ""
        lines.append(f"- left out: {left['server']}{case}: {left['why'].strip().splitlines()[-1]}")
    for server, found in figures.inside.items():
        parts = {"all of it": found} if "left_out" in found else found
        missing = {what: part for what, part in parts.items() if isinstance(part, dict) and "left_out" in part}
        lines += [f"- left out: {server}, {what}: {part['left_out']}" for what, part in missing.items()]
    return "\n".join(lines)


def behind(figures):
    """How each speaks to the origin."""
    if OURS not in figures.linked:
        return "To the origin all of them, Headgate too, speak HTTP/1.1."
    return "To the origin Headgate speaks its link, all others HTTP/1.1, and so does Headgate in the second line."


def undisturbed(figures):
    """What became of replies that the machine's own standing still delayed."""
    if not any(cell.get("disturbed", {}).get("max") for cell in figures.cells.values()):
        return ""
    return " Where requests come by a schedule, replies that were under way while the host had taken a core away are left out, " \
        "and those of as long after it, of all alike: a watcher on each core tells (`loadtests stalls`). Of the others p50 and " \
        "p99 are found for each tenth of a second, and are the medians of those."


def setting(figures):
    """Machine, cores and rounds in words."""
    machine, cores = figures.run["machine"], figures.cores
    settings = ", ".join(f"{name} {value}" for name, value in figures.run["settings"].items())
    if cores["measured"] is None:
        placed = "one core for all, which no figure here is meant for"
    else:
        beside = "origin and driver share" if cores["origin"] == cores["driver"] else f"origin has {cores['origin']}, driver"
        placed = f"what is measured has core {cores['measured']}, {beside} {cores['driver']}"
    return f"{machine['processor']}, {cores['count']} cores, {machine['system']}; {placed}; {settings}; medians."


def write(out, figures, parts):
    """Writes and prints the tables, writes all figures."""
    text = "\n\n".join(part for part in parts if part) + "\n"
    (out / "table.md").write_text(text)
    results = {"run": figures.run, "inside": figures.inside, "left_out": figures.left_out}
    (out / "results.json").write_text(json.dumps(results, indent=1))
    print(text)


def main(out):
    out = pathlib.Path(out)
    figures = Figures(out, TITLES)
    closed = [case for case in figures.cases if case not in PACED]
    write(out, figures, [
        "# Headgate's gateway beside other proxies",
        setting(figures) + " A POST of 540 bytes, a reply of 200, on kept connections; `x64`: 64 clients that each wait for "
        "their reply; half and quarter load: that part of what HAProxy did at x64 (or it itself, where that is less), by a "
        f"schedule, in turns of half a second with calls past the proxy, straight to the origin; added: how much longer those "
        f"through it take, by the median pair of turns.{undisturbed(figures)} {behind(figures)} "
        "Peers write no log; Headgate runs as it does without any setting, but for the line with `busy_poll_us`, whose threads "
        "stay awake for the next call. The last line is no proxy: it passes bytes on, and what it adds this machine takes from "
        "all that sleep between calls.",
        cpu_table(figures, figures.cases),
        latency_table(figures, closed),
        paced_table(figures),
        inside_table(figures),
        "## What must hold",
        musts_table(lambda must: musts(figures, must)),
        failures(figures),
    ])


if __name__ == "__main__":
    main(sys.argv[1])
