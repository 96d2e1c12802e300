"""Gets everything ready that `make bench-proxy` measures: the call, the proxies' configurations, and a plan that says how
each is started and called.

    proxy_plan.py TOOLS OUT HEADGATE LOADTESTS
"""

import json
import os
import pathlib
import shutil
import sys

import proxies
from servers import Home

BODY_BYTES = 540
REPLY_BYTES = 200
CLIENTS = [16, 64, 256]


def body():
    """A prediction call of so many bytes."""
    begin, end = '{"instances":[[', "]]}"
    values = "0.123456," * ((BODY_BYTES - len(begin) - len(end)) // 9)
    rest = BODY_BYTES - len(begin) - len(end) - len(values)
    return (begin + values + "1" * rest + end).encode() if rest else (begin + values[:-1] + "1" + end).encode()


def cases():
    """Each with the number of clients; by a schedule in turns with calls past the proxy, to the origin, at the same rate: a
    half and a quarter of what HAProxy does at most. Of a cheaper proxy's half the driver's own core would be the queue."""
    closed = [{"name": f"x{clients}", "call": "post", "clients": clients} for clients in CLIENTS]
    paced = {"call": "post", "clients": 64, "part_of": "x64", "part_of_server": "haproxy", "past": "direct"}
    return closed + [{"name": "half load", "part": 0.5} | paced, {"name": "quarter load", "part": 0.25} | paced]


def main(tools, out, headgate, loadtests):
    tools, out, headgate, loadtests = (pathlib.Path(path).resolve() for path in (tools, out, headgate, loadtests))
    shutil.rmtree(out, ignore_errors=True)
    (out / "calls" / "post").mkdir(parents=True)
    (out / "calls" / "post" / "0").write_bytes(body())
    (out / "calls" / "post.scores.json").write_text(json.dumps([[proxies.SCORE]]))
    home = Home(tools, out, headgate, None, None, {})
    home.loadtests, home.cores = loadtests, proxies.cores(os.sched_getaffinity(0))

    def calls(proxy, origin):
        def call(url):
            return home.call(url + proxies.PATH, "post", {"pointer": "/predictions"})

        return {"post": call(proxy), "direct": call(origin)}

    def server(name, make, *more):
        words = ("--reply-bytes", REPLY_BYTES, *more)
        return lambda: proxies.behind_origin(home, name, make, calls, *words) | {"ready": "post"}

    makers = {
        "headgate": server("headgate", proxies.gateway),
        "headgate-http1": server("headgate-http1", proxies.gateway, "--http-only"),
        "headgate-awake": server("headgate-awake", proxies.awake),
    }
    makers |= {name: server(name, make) for name, make in proxies.PROXIES.items()}
    makers["relay"] = server("relay", proxies.relay)
    servers, left_out = proxies.found(makers)
    home.release()
    # The driver shares the origin's core: it may be busy all the time only where the origin goes before it.
    spin = proxies.chrt() is not None
    plan = {"tolerance": 0.0, "bare": True, "spin": spin, "watch": proxies.watchers(home), "servers": servers, "cases": cases()}
    (out / "plan.json").write_text(json.dumps(plan, indent=1))
    (out / "left-out.json").write_text(json.dumps(left_out))
    (out / "cores.json").write_text(json.dumps(home.cores))


if __name__ == "__main__":
    main(*sys.argv[1:])
