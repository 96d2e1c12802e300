"""From what was measured to tables (table.md, printed too) and one file of all figures (results.json).

    chain_tables.py OUT
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "bench-proxy"))
from proxy_tables import (
    OURS, Figures, cpu_table, failures, inside_table, latency_table, musts_table, ratio_musts, setting, write,
)
from report import number, table, times

TITLES = {
    "headgate": "**Headgate: gateway + backend**",
    "haproxy": "HAProxy, forwarding alone",
    "nginx": "nginx, forwarding alone",
    "envoy": "Envoy, forwarding alone",
    "nginx-gunicorn": "nginx + gunicorn + LightGBM",
}
# Ours beside what a peer takes only to forward: how many times that it may at most be, and the goal.
RATIOS = [("x64", ["haproxy"], 1.8, 1.3), ("x64", ["envoy"], 0.6, 0.4)]
GUNICORN_TIMES_LEAST = 30


def parts_table(figures):
    """What each of our two processes takes."""
    rows = []
    for case in figures.cases:
        cell = figures.cells.get((OURS, case))
        if cell:
            parts = [f"{number(cell['cpu_us_by_process'][name]['median'])}" for name in ("gateway", "backend")]
            rows.append([case, *parts, cell["requests"], cell["failed"]])
    return table(["Headgate, CPU us a request", "gateway", "backend", "requests", "failed"], rows) if rows else ""


def musts(figures, must):
    ratio_musts(figures, RATIOS, must)
    ours, theirs = (figures.median(server, "x64") for server in (OURS, "nginx-gunicorn"))
    if ours and theirs:
        ratio = theirs / ours
        least = GUNICORN_TIMES_LEAST
        must("x64: nginx + gunicorn's CPU / ours", times(ratio), f">= {least} x", "", ratio >= least, True)


def main(out):
    out = pathlib.Path(out)
    figures = Figures(out, TITLES)
    write(out, figures, [
        "# A prediction through Headgate beside what others take to forward it",
        setting(figures) + " One row of 50 features in JSON, 500 trees x 63 leaves, on kept connections; `x64`: 64 clients that "
        "each wait for their reply; half load: half of what each did at x64, by a schedule. Headgate scores, with all that is on "
        "by default; the proxies hand the same request to an origin that answers at once, whose time does not count.",
        cpu_table(figures, figures.cases),
        latency_table(figures, figures.cases),
        parts_table(figures),
        inside_table(figures),
        "## What must hold",
        musts_table(lambda must: musts(figures, must)),
        failures(figures),
    ])


if __name__ == "__main__":
    main(sys.argv[1])
