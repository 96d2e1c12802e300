"""Gets everything ready that `loadtests serving` measures: the model, published and converted; calls and their scores; and
a plan that says how each server is started and called.

    plan.py TOOLS OUT HEADGATE
"""

import json
import pathlib
import shutil
import subprocess
import sys

import bodies
import lightgbm
import servers

# How far from LightGBM's a score may be: ONNX Runtime sums in floats of 32 bits.
TOLERANCE = 1e-6


def cases():
    """Each with the call and the number of clients."""
    def case(call, clients, **more):
        return {"name": f"{call} x{clients}", "call": call, "clients": clients} | more

    half = {"name": "json-1 half load", "part_of": "json-1 x64", "servers": servers.OURS}
    return [
        case("json-1", 1), case("json-1", 16), case("json-1", 64),
        case("json-1", 64) | half,
        case("json-100", 16), case("json-100", 64),
        case("binary-1", 64), case("binary-100", 16), case("binary-100", 64),
        case("tensor-1", 64), case("tensor-100", 16), case("digits-100", 16),
    ]


def publish(out, headgate, text):
    """A store with the model, promoted."""
    def run(*words):
        subprocess.run([headgate, *words, "--store", f"file://{out}/store"], check=True, stdout=subprocess.DEVNULL)

    run("publish", str(text), "--model", "bench", "--golden", str(out / "calls" / "golden.jsonl"), "--promote")


def main(tools, out, headgate):
    tools, out, headgate = (pathlib.Path(path).resolve() for path in (tools, out, headgate))
    shutil.rmtree(out, ignore_errors=True)
    (out / "calls").mkdir(parents=True)
    text, onnx = bodies.make_model(tools / "model", trained=tools.parent / "bench-engine")
    written = bodies.write(out / "calls", lightgbm.Booster(model_file=str(text)))
    publish(out, headgate, text)
    home = servers.Home(tools, out, headgate, text, onnx, **written)
    found, left_out = [], []
    for name, server in servers.SERVERS.items():
        try:
            found.append({"name": name} | server(home))
        except servers.LeftOut as why:
            left_out.append({"server": name, "case": None, "why": str(why)})
            print(f"left out {name}: {why}", file=sys.stderr)
    home.release()
    # Driven as bytes: with a client library, the driver would take as much of the machine as the cheapest server.
    plan = {"tolerance": TOLERANCE, "bare": True, "servers": found, "cases": cases()}
    (out / "plan.json").write_text(json.dumps(plan, indent=1))
    (out / "left-out.json").write_text(json.dumps(left_out))


if __name__ == "__main__":
    main(*sys.argv[1:])
