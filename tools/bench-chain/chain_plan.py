"""Gets everything ready that `make bench-chain` measures: the 500 x 63 model, published; calls and their scores; and a plan
that says how each server is started and called. What is measured has one core, whatever it consists of.

    chain_plan.py TOOLS PROXIES OUT HEADGATE LOADTESTS
"""

import json
import os
import pathlib
import shutil
import sys

HERE = pathlib.Path(__file__).parent.resolve()
sys.path[:0] = [str(HERE.parent / "bench-proxy"), str(HERE.parent / "bench-serving")]
import bodies
import lightgbm
import proxies
import servers
from plan import TOLERANCE, publish

FORM = "instances-1"
# About what a prediction takes: the origin fills its reply up to at least this.
REPLY_BYTES = 64


def cases():
    closed = [{"name": f"x{clients}", "call": "json-1", "clients": clients} for clients in (16, 64)]
    return [*closed, {"name": "half load", "call": "json-1", "clients": 64, "part_of": "x64"}]


def one_row(server, core):
    """A server of bench-serving on one core, with only the calls that are measured."""
    placed = [proxies.pinned(process, core) for process in server["processes"]]
    return {"processes": placed, "calls": {"json-1": server["calls"]["json-1"]}}


def forwarding(home, name, make, peers_home):
    """A proxy that hands the same requests to an origin which answers at once."""
    def calls(proxy, _):
        call = home.call(proxy + proxies.PATH, FORM, {"pointer": "/predictions"})
        return {"json-1": call | {"scores": str(home.out / "calls" / "forwarded.scores.json")}}

    return proxies.behind_origin(peers_home, name, make, calls, "--reply-bytes", REPLY_BYTES)


def main(tools, proxy_tools, out, headgate, loadtests):
    tools, proxy_tools, out, headgate, loadtests = (
        pathlib.Path(path).resolve() for path in (tools, proxy_tools, out, headgate, loadtests))
    shutil.rmtree(out, ignore_errors=True)
    (out / "calls").mkdir(parents=True)
    text, onnx = bodies.make_model(tools / "model", trained=tools.parent / "bench-engine")
    written = bodies.write(out / "calls", lightgbm.Booster(model_file=str(text)))
    asked = len(list((out / "calls" / FORM).iterdir()))
    (out / "calls" / "forwarded.scores.json").write_text(json.dumps([[proxies.SCORE]] * asked))
    publish(out, headgate, text)

    home = servers.Home(tools, out, headgate, text, onnx, **written)
    peers_home = servers.Home(proxy_tools, out, headgate, text, onnx, **written)
    peers_home.loadtests, peers_home.cores = loadtests, proxies.cores(os.sched_getaffinity(0))
    core = peers_home.cores["measured"]
    makers = {"headgate": lambda: one_row(servers.headgate_gateway(home), core)}
    for name, make in proxies.PROXIES.items():
        makers[name] = lambda name=name, make=make: forwarding(home, name, make, peers_home)
    makers["nginx-gunicorn"] = lambda: one_row(servers.nginx_gunicorn(home), core)
    found, left_out = proxies.found(makers)
    home.release()
    peers_home.release()
    plan = {"tolerance": TOLERANCE, "bare": True, "servers": found, "cases": cases()}
    (out / "plan.json").write_text(json.dumps(plan, indent=1))
    (out / "left-out.json").write_text(json.dumps(left_out))
    (out / "cores.json").write_text(json.dumps(peers_home.cores))


if __name__ == "__main__":
    main(*sys.argv[1:])
