"""From the reports of single runs to one table (table.md, printed too).

    tables.py OUT NAME...
"""

import json
import pathlib
import sys


def number(value):
    if value is None:
        return "none"
    return f"{value:,.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


def rows(name, report):
    """What must hold and what else was measured, of one run."""
    for must in report["musts"]:
        measured, bound = must["measured"], must["bound"]
        holds = measured is not None and measured <= bound
        unit = f" {must['unit']}" if must["unit"] else ""
        yield [name, must["name"], number(measured) + unit, f"at most {number(bound)}{unit}", "yes" if holds else "**no**"]
    for figure in report["figures"]:
        unit = f" {figure['unit']}" if figure["unit"] else ""
        yield [name, figure["name"], number(figure["value"]) + unit, "", ""]
    if report.get("error"):
        yield [name, f"ended early: {report['error']}", "", "", "**no**"]


def setting(report):
    return ", ".join(f"{name} {value}" for name, value in report["settings"].items())


def main(out, names):
    out = pathlib.Path(out)
    reports = {}
    for name in names:
        path = out / f"{name}.json"
        if path.is_file():
            reports[name] = json.loads(path.read_text())
    lines = ["# The gateway's judgement on live processes", ""]
    machine = next((report["machine"] for report in reports.values()), None)
    if machine:
        lines += [f"{machine['processor']}, {machine['cores']} cores, {machine['system']}.", ""]
    lines += ["| run | what | measured | must be | holds |", "|---|---|---|---|---|"]
    for name, report in reports.items():
        lines += ["| " + " | ".join(row) + " |" for row in rows(name, report)]
    lines += [""] + [f"- {name}: {setting(report)}" for name, report in reports.items()]
    text = "\n".join(lines) + "\n"
    (out / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
