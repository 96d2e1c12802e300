"""From what `peers` measured to a table (table.md, printed too) and a plot (plot.png).

    report.py PLAN FOLDER
"""

import json
import pathlib
import sys

# What the engine's speed is held to: for each peer and batch size how many times slower it must at least be, and the goal.
MUSTS_AVX512 = [
    ("lleaves", 1, 4.5, 6), ("LightGBM", 1, 10, 14),
    ("lleaves", 8, 5, 7),
    ("lleaves", 64, 10, 13), ("LightGBM", 64, 32, 40), ("ONNX Runtime", 64, 18, 24),
    ("lleaves", 1000, 10, 13), ("LightGBM", 1000, 32, 40), ("ONNX Runtime", 1000, 18, 24),
]
MUSTS_AVX2 = [("lleaves", 1, 2, 3), ("lleaves", 8, 4, 5), ("lleaves", 64, 4, 5), ("lleaves", 1000, 4, 5)]
LOAD_MS_MAX = {"500x63": 60}

OURS = "Headgate"
OURS_ON_XGBOOST = "Headgate (XGBoost's model)"


def table(head, rows):
    """A Markdown table, padded so that it reads well in a terminal too; all columns but the first to the right."""
    widths = [max(len(str(row[column])) for row in [head, *rows]) for column in range(len(head))]

    def line(cells):
        padded = [str(cell).rjust(width) for cell, width in zip(cells, widths)]
        padded[0] = str(cells[0]).ljust(widths[0])
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return "\n".join([line(head), line(rule), *map(line, rows)])


def number(value):
    """Three digits that count."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def times(ratio):
    """A ratio."""
    return f"{ratio:.1f} x" if ratio >= 10 else f"{ratio:.2f} x"


def microseconds(model):
    """For each engine and batch size the median."""
    return {e["name"]: {b["rows"]: b["us_per_row"] for b in e["batches"]} for e in model["engines"]}


def beside(engine):
    """Which of our own lines an engine is compared with: the one on the same model."""
    return OURS_ON_XGBOOST if "XGBoost" in engine else OURS


def speed_table(model):
    """Microseconds a row and how many times ours that is."""
    us = microseconds(model)
    sizes = list(us[OURS])
    rows = []
    for engine in model["engines"]:
        name, ours = engine["name"], us[beside(engine["name"])]
        cells = [f"{number(us[name][size])} ({times(us[name][size] / ours[size])})" for size in sizes]
        exact = f"{engine['equal_rows']:,} of {engine['rows']:,}"
        rows.append([name, *cells, exact, f"{engine['largest_difference']:.1e}" if engine["largest_difference"] else "0"])
    head = ["us per row (times ours)", *(f"batch {size:,}" for size in sizes), "rows equal to the bit", "largest difference"]
    return table(head, rows)


def footprint_table(models):
    """Loading and memory."""
    rows = []
    for model in models:
        ours, lightgbm = model["footprint"]["headgate"], model["footprint"]["lightgbm"]
        kib = [ours["stated_bytes"], ours["resident_bytes"], lightgbm["resident_bytes"]]
        cells = [f"{ours['load_ms']:.1f}", f"{lightgbm['load_ms']:.1f}", *(f"{b / 1024:,.0f}" for b in kib)]
        rows.append([model["name"], *cells])
    head = ["model", "load, ms", "LightGBM's", "memory it states, KiB", "resident, KiB", "LightGBM's resident, KiB"]
    return table(head, rows)


def verdict(met):
    return "met" if met else "NOT MET"


def musts_of(model, musts):
    """Each must of a model, and whether it is met."""
    us = microseconds(model)
    rows = []
    for peer, size, must, goal in musts:
        if peer in us:
            ratio = us[peer][size] / us[OURS][size]
            met = "met, goal too" if ratio >= goal else verdict(ratio >= must)
            rows.append([f"{model['name']}: {peer}, batch {size:,}", f"{must} x ({goal} x)", times(ratio), met])
        else:
            rows.append([f"{model['name']}: {peer}, batch {size:,}", f"{must} x ({goal} x)", "left out", "-"])
    ours, lightgbm = model["footprint"]["headgate"], model["footprint"]["lightgbm"]
    if most := LOAD_MS_MAX.get(model["name"]):
        rows.append([f"{model['name']}: load", f"< {most} ms", f"{ours['load_ms']:.1f} ms", verdict(ours["load_ms"] < most)])
    memory, theirs = ours["resident_bytes"], lightgbm["resident_bytes"]
    limit, found = f"< {theirs / 1024:,.0f} KiB", f"{memory / 1024:,.0f} KiB"
    rows.append([f"{model['name']}: memory, below LightGBM's", limit, found, verdict(memory < theirs)])
    return rows


def musts_table(report):
    """What is asked on this processor, and what was found."""
    musts = MUSTS_AVX512 if report["machine"]["avx512"] else MUSTS_AVX2
    rows = [row for model in report["models"] for row in musts_of(model, musts)]
    return table(["must (goal): how many times slower a peer is", "asked", "found", ""], rows)


def others(share):
    """A warning where engines had help from threads that the figures leave out."""
    return f"\n\nOther threads of the process took {share:.0%} of its processor time." if share > 0.01 else ""


def heading(report, plan):
    """What was measured where and how."""
    machine = report["machine"]
    abilities = [name for name, has in [("AVX2", machine["avx2"]), ("AVX-512", machine["avx512"])] if has]
    lacks = [name for name, has in [("AVX2", machine["avx2"]), ("AVX-512", machine["avx512"])] if not has]
    processor = f"{machine['cpu']} (family {machine['family']}, model {machine['model']})"
    able = " and ".join(abilities) or "neither AVX2 nor AVX-512"
    able += f", no {lacks[0]}" if abilities and lacks else ""
    versions = ", ".join(f"{name} {version}" for name, version in plan["versions"].items() if version)
    return (
        f"{processor}, {able}. One thread, pinned to one of {machine['cores']} cores; processor time of the thread; "
        f"median of {report['rounds']} rounds in which every engine has its turn; {report['seconds']:.0f} s in all. "
        f"{report['rows']:,} rows of {report['features']} features, other rows in every call.\n\n"
        f"Peers, all called from C, no Python: {versions}. They give raw margins, Headgate outputs (the transform "
        "included). What an engine takes is laid out before: rows for LightGBM, lleaves, tl2cgen and treelite, f32 rows "
        "for XGBoost, tensors for ONNX Runtime, columns for Headgate. LightGBM's batch 1 is its single-row fast call. "
        "Equal to the bit: raw margins, with LightGBM's own, on XGBoost's model with XGBoost's; ONNX Runtime sums in f32."
        + others(report["other_threads_share"])
    )


def markdown(report, plan):
    """The whole table."""
    parts = ["# The engine beside its peers", heading(report, plan)]
    for model in report["models"]:
        trees, leaves = model["name"].split("x")
        parts += [f"## {trees} trees x {leaves} leaves", speed_table(model)]
    parts += ["## Loading and memory, for each model", footprint_table(report["models"])]
    parts += ["## Musts on this processor", musts_table(report)]
    left_out = {e["name"]: e["why"] for model in report["models"] for e in model["left_out"]}
    if left_out:
        parts += ["## Left out", "\n".join(f"- {name}: {why}" for name, why in left_out.items())]
    return "\n\n".join(parts) + "\n"


COLOURS = {
    "Headgate": "#c8102e", "LightGBM": "#2f6db3", "lleaves": "#2e8b57", "tl2cgen": "#8a6d1f", "treelite GTIL": "#7b4fa3",
    "ONNX Runtime": "#d9791a", "XGBoost": "#555555",
}


def draw_model(axes, model):
    """A line for each engine, named at its right end; our own only once, on the model of most engines."""
    from matplotlib import ticker

    us = {name: by_size for name, by_size in microseconds(model).items() if name != OURS_ON_XGBOOST}
    sizes = list(us[OURS])
    places = list(range(len(sizes)))
    ends = []
    for name, by_size in us.items():
        colour = next((c for prefix, c in COLOURS.items() if name.startswith(prefix)), "black")
        ours = name.startswith(OURS)
        style = "--" if "XGBoost" in name else "-"
        values = [by_size[size] for size in sizes]
        axes.plot(places, values, style, color=colour, marker="o", markersize=4, linewidth=2.6 if ours else 1.5)
        ends.append((values[-1], f"{name}  {number(values[-1])}", colour))
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(ticker.NullFormatter())
    # Names that would overlap move apart, from the lowest up.
    gap, floor = (high / low) ** 0.042, 0.0
    for value, label, colour in sorted(ends):
        floor = max(value, floor * gap)
        axes.annotate(label, (places[-1], value), (places[-1] + 0.2, floor), color=colour, va="center", fontsize=9.5,
                      arrowprops={"arrowstyle": "-", "color": colour, "linewidth": 0.5}, annotation_clip=False)
    axes.set_xticks(places, [f"{size:,}" for size in sizes])
    axes.set_xlabel("rows a call")
    axes.set_title("{} trees x {} leaves".format(*model["name"].split("x")))
    axes.grid(True, which="major", axis="y", linewidth=0.4, alpha=0.5)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def draw(report, path):
    """A panel a model, microseconds a row over rows a call."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    models = report["models"]
    figure, panels = pyplot.subplots(1, len(models), figsize=(7.2 * len(models), 5.8), squeeze=False)
    for axes, model in zip(panels[0], models):
        draw_model(axes, model)
    panels[0][0].set_ylabel("processor time, microseconds a row (log)")
    figure.suptitle(f"Scoring on one thread of an {report['machine']['cpu']}: less is better", fontsize=11)
    figure.tight_layout(w_pad=3)
    figure.savefig(path, dpi=130, bbox_inches="tight")


def main(plan, folder):
    folder = pathlib.Path(folder)
    plan = json.loads(pathlib.Path(plan).read_text())
    report = json.loads((folder / "results.json").read_text())
    text = markdown(report, plan)
    (folder / "table.md").write_text(text)
    print(text)
    files = ["table.md", "results.json"]
    try:
        draw(report, folder / "plot.png")
        files.append("plot.png")
    except ImportError as why:
        print(f"no plot: {why}", file=sys.stderr)
    print(f"written: {', '.join(str(folder / name) for name in files)}", file=sys.stderr)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
