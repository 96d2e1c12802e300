"""From what was measured to tables (table.md, printed too) and one file of all figures (results.json).

    report.py OUT
"""

import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "bench-engine"))
from report import number, table, times, verdict

OURS = "headgate"
GATEWAY = "headgate-gateway"
TITLES = {
    "headgate": "**Headgate**",
    "headgate-gateway": "Headgate: gateway + backend",
    "fastapi-onnx": "FastAPI + ONNX Runtime",
    "fastapi-onnx-typed": "the same, Pydantic models",
    "fastapi-lightgbm": "FastAPI + LightGBM",
    "gunicorn": "gunicorn + Flask",
    "nginx-gunicorn": "nginx + gunicorn",
    "kserve": "KServe",
    "mlserver": "MLServer",
    "triton": "Triton, Python backend",
    "triton-batching": "the same, dynamic batching",
}
# What the README's numbers are held to: CPU a request, how many times ours a peer's must at least be, and the goal.
RATIOS = [
    ("json-1 x64", "fastapi-onnx", 18, 18),
    ("json-1 x64", "triton", 22, 22),
    ("json-100 x16", None, 15, 20),
    ("json-100 x64", None, 15, 20),
]
# Latency of ours, in microseconds, below which it must be.
LATENCIES = [
    ("json-1 x1", "p50_us", 150), ("json-1 x1", "p99_us", 1000), ("json-1 half load", "p99_us", 2000),
]
# Reading and writing a row of 100, in microseconds: most, and the goal; and the whole of a binary call beside its scoring.
PARSING = [("instances-100", 2, 1), ("tensor-100", 2, 1), ("digits-100", 2, 1)]
BINARY_MOST = 1.3


class Figures:
    """All that was measured."""

    def __init__(self, out):
        def read(name):
            path = out / name
            return json.loads(path.read_text()) if path.exists() else None

        self.serving = read("serving.json")
        self.cells = {(cell["server"], cell["case"]): cell for cell in self.serving["serving"]["cells"]}
        self.left_out = read("left-out.json") + self.serving["serving"]["left_out"]
        self.phases = {case["name"]: case for case in (read("phases.json") or {"cases": []})["cases"]}
        self.allocations = read("allocations.json") or {}
        self.servers = [name for name in TITLES if any(server == name for server, _ in self.cells)]
        self.cases = list(dict.fromkeys(case for _, case in self.cells))

    def median(self, server, case, what="cpu_us"):
        cell = self.cells.get((server, case))
        return cell[what]["median"] if cell else None


def shared(figures):
    """The cases that peers were measured with."""
    peers = [server for server in figures.servers if server not in (OURS, GATEWAY)]
    return [case for case in figures.cases if any((peer, case) in figures.cells for peer in peers)]


def cpu_table(figures):
    """CPU a request and how many times ours that is; least and most of the rounds behind it."""
    cases = shared(figures)

    def cell(server, case):
        us, ours = figures.median(server, case), figures.median(OURS, case)
        if us is None:
            return "-"
        ratio = f" ({times(us / ours)})" if ours and server != OURS else ""
        spread = figures.cells[server, case]["cpu_us"]
        return f"{number(us)}{ratio} [{number(spread['min'])}-{number(spread['max'])}]"

    rows = [[TITLES[server], *(cell(server, case) for case in cases)] for server in figures.servers]
    return table(["CPU us a request (times ours) [rounds]", *cases], rows)


def milliseconds(us):
    return "-" if us is None else f"{us / 1000:.2f}" if us < 10_000 else f"{us / 1000:.0f}"


def latency_table(figures):
    """Latency of each server and case, as its clients saw it."""
    def cell(server, case):
        p50, p99 = (figures.median(server, case, what) for what in ("p50_us", "p99_us"))
        return "-" if p50 is None else f"{milliseconds(p50)} / {milliseconds(p99)}"

    cases = shared(figures)
    rows = [[TITLES[server], *(cell(server, case) for case in cases)] for server in figures.servers]
    return table(["p50 / p99, ms", *cases], rows)


def own_table(figures):
    """All cases of ours, the gateway's by process."""
    rows = []
    for server in (OURS, GATEWAY):
        for case in figures.cases:
            cell = figures.cells.get((server, case))
            if not cell:
                continue
            parts = ", ".join(f"{name} {number(cpu['median'])}" for name, cpu in cell["cpu_us_by_process"].items())
            latency = f"{number(cell['p50_us']['median'])} / {number(cell['p99_us']['median'])}"
            rows.append([server, case, parts, latency, f"{cell['per_s']['median']:,.0f}", cell["requests"], cell["failed"]])
    return table(["server", "case", "CPU us a request", "p50 / p99, us", "replies/s", "requests", "failed"], rows)


def beside_score(case):
    """How many times its scoring a call takes."""
    return (case["read_us"] + case["score_us"] + case["write_us"]) / case["score_us"]


def phases_table(figures):
    """A call's phases in process, and what a server takes beyond the scoring."""
    servers = {"instances": "json", "tensor": "tensor", "binary": "binary", "digits": "digits"}
    rows = []
    for name, case in figures.phases.items():
        if "left_out" in case:
            continue
        form, count = name.split("-")
        whole = figures.median(OURS, f"{servers[form]}-{count} x{16 if case['rows'] > 1 else 64}")
        beyond = "-" if whole is None else f"{(whole - case['score_us']) / case['rows']:.2f}"
        each = [case[phase] for phase in ("read_us", "score_us", "write_us", "cpu_us")]
        parsing = (case["read_us"] + case["write_us"]) / case["rows"]
        rows.append([
            name, *(f"{us:.2f}" for us in each), f"{parsing:.2f}", beyond, f"{beside_score(case):.2f}",
            f"{case['allocations']:.2f}",
        ])
    head = [
        "us a call, one thread", "read", "score", "write", "all (CPU)", "read + write, us a row",
        "server - score, us a row", "all / score", "allocations",
    ]
    return table(head, rows)


def allocations_table(figures):
    """Allocations of the whole backend."""
    rows = [
        [call, f"{found['allocations']:.1f}", f"{found['bytes'] / 1024:.1f}"]
        for call, found in figures.allocations.items() if "left_out" not in found
    ]
    return table(["backend, a call on a kept connection", "allocations", "KiB asked for"], rows)


def musts(figures):
    """Each must with what came; what was not measured is left out."""
    rows = []

    def add(what, came, must, goal, met, reached):
        rows.append([what, came, must, verdict(met), goal, verdict(reached)])

    for case, peer, least, goal in RATIOS:
        ours = figures.median(OURS, case)
        peers = [peer] if peer else [s for s in figures.servers if s not in (OURS, GATEWAY)]
        best = min((us, p) for p in peers if (us := figures.median(p, case)) is not None) if ours and any(
            figures.median(p, case) is not None for p in peers) else None
        if best:
            ratio = best[0] / ours
            add(f"{case}: {best[1]}'s CPU / ours", times(ratio), f">= {least} x", f">= {goal} x", ratio >= least, ratio >= goal)
    for case, what, most in LATENCIES:
        us = figures.median(OURS, case, what)
        if us is not None:
            add(f"{case}: {what[:3]}", f"{us:.0f} us", f"< {most} us", "", us < most, us < most)
    for name, most, goal in PARSING:
        case = figures.phases.get(name)
        if case and "left_out" not in case:
            us = (case["read_us"] + case["write_us"]) / case["rows"]
            add(f"{name}: read + write a row", f"{us:.2f} us", f"<= {most} us", f"<= {goal} us", us <= most, us <= goal)
    case = figures.phases.get("binary-100")
    if case and "left_out" not in case:
        ratio = beside_score(case)
        add("binary-100: all / score", times(ratio), f"<= {BINARY_MOST} x", "", ratio <= BINARY_MOST, ratio <= BINARY_MOST)
    return table(["what", "came", "must", "", "goal", ""], rows) if rows else "nothing of what must hold was measured"


def failures(figures):
    """What failed and what was left out, in words."""
    lines = []
    for (server, case), cell in figures.cells.items():
        if cell["failed"]:
            lines.append(f"- {server}, {case}: {cell['failed']} of {cell['requests']} requests failed: {cell['failures'][0]}")
    for left in figures.left_out:
        case = f", {left['case']}" if left["case"] else ""
        lines.append(f"- left out: {left['server']}{case}: {left['why'].strip().splitlines()[-1]}")
    lines += [f"- left out: allocations of {n}: {a['left_out']}" for n, a in figures.allocations.items() if "left_out" in a]
    lines += [f"- left out: phases of {n}: {c['left_out']}" for n, c in figures.phases.items() if "left_out" in c]
    return "\n".join(lines)


def main(out):
    out = pathlib.Path(out)
    figures = Figures(out)
    machine = figures.serving["machine"]
    settings = ", ".join(f"{name} {value}" for name, value in figures.serving["settings"].items())
    parts = [
        "# Headgate beside other model servers",
        f"500 trees x 63 leaves, 50 features, numbers of six digits after the point. {machine['processor']}, "
        f"{machine['cores']} cores, {machine['system']}; load driver and servers on the same cores; {settings}; medians. "
        "`json-1 x64`: calls of 1 row in JSON from 64 clients that each wait for their reply.",
        cpu_table(figures),
        latency_table(figures),
        "## Headgate's own",
        own_table(figures),
        phases_table(figures),
        allocations_table(figures),
        "## What must hold",
        musts(figures),
        failures(figures),
    ]
    text = "\n\n".join(part for part in parts if part) + "\n"
    (out / "table.md").write_text(text)
    results = {"serving": figures.serving, "phases": figures.phases, "allocations": figures.allocations}
    (out / "results.json").write_text(json.dumps(results | {"left_out": figures.left_out}, indent=1))
    print(text)


if __name__ == "__main__":
    main(sys.argv[1])
