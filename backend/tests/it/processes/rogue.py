"""A linear model that serves as it should, but where its file's `behave`, or a call's `age`, says otherwise."""

import json
import os
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingMixIn, UnixStreamServer

OPTIONS = dict(zip(sys.argv[1::2], sys.argv[2::2]))
MODEL = json.load(open(OPTIONS["--folder"] + "/model.bin"))
BEHAVE = MODEL.get("behave", "")
# What a call's age may ask for.
HANG, END, GROW, FLOOD, GARBAGE, FEWER, LESS, TRICKLE, FAIL, REFUSE, HUGE, CLOSE, SLOW = range(1001, 1014)


def grow():
    held = []
    while True:
        held.append(b"x" * (4 << 20))


def flood():
    line = b"y" * 1000 + b"\n"
    for _ in range(50):
        sys.stdout.buffer.write(line * 1000)
    sys.stdout.buffer.flush()


def fork():
    """A daemon as daemons are: in a session of its own, its parent gone, deaf to SIGTERM."""
    daemon = "import os,signal,time\nos.setsid()\nsignal.signal(15,signal.SIG_IGN)\nos.fork() and os._exit(0)\ntime.sleep(600)"
    subprocess.run([sys.executable, "-c", daemon], check=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def address_string(self):
        return ""

    def log_message(self, *_):
        pass

    def say(self, body, status=200, length=None):
        self.send_response(status)
        self.send_header("Content-Length", str(length or len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def do_GET(self):
        self.say(b"{}", 503 if BEHAVE == "never ready" else 200)

    def do_POST(self):
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        columns = {tensor["name"]: tensor["data"] for tensor in call["inputs"]}
        age = columns["age"][0]
        wants = {"garbage": GARBAGE, "fewer rows": FEWER, "trickle": TRICKLE, "huge": HUGE}.get(BEHAVE, age)
        if wants == HANG:
            time.sleep(600)
        elif wants == END:
            os._exit(7)
        elif wants == GROW:
            grow()
        elif wants == FLOOD:
            flood()
        elif wants == SLOW:
            time.sleep(1)
        elif wants == GARBAGE:
            return self.say(b"\x00garbage")
        elif wants == FAIL:
            return self.say(b'{"error": "no such luck"}', 500)
        elif wants == REFUSE:
            return self.say(b'{"error": "age must be human"}', 400)
        elif wants == HUGE:
            return self.say(b" " * (3 << 20))
        elif wants == CLOSE:
            self.close_connection = True
            return None
        elif wants == TRICKLE:
            self.say(b"{", length=1 << 20)
            while True:
                time.sleep(0.05)
                self.wfile.write(b" ")
                self.wfile.flush()
        first, second = MODEL["weights"]
        rows = zip(columns["age"], columns["balance"])
        scores = [None if None in row else 1.0 + first * row[0] + second * row[1] for row in rows]
        if wants == FEWER:
            scores.pop()
        outputs = [
            {"name": output["name"], "datatype": "FP64", "shape": [len(scores)], "data": scores}
            for output in call["outputs"]
            if wants != LESS
        ]
        return self.say(json.dumps({"outputs": outputs}).encode())


class Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, *_):
        pass


if BEHAVE == "end":
    print("no weights here", file=sys.stderr)
    sys.exit(3)
elif BEHAVE == "hang":
    time.sleep(600)
elif BEHAVE == "grow":
    grow()
elif BEHAVE == "slow":
    time.sleep(1.5)
elif BEHAVE == "fork":
    fork()
elif BEHAVE == "deaf":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
elif BEHAVE == "moody" and os.path.exists(OPTIONS["--signature"] + ".seen"):
    MODEL["weights"] = [5, 5]
elif BEHAVE == "moody":
    open(OPTIONS["--signature"] + ".seen", "w").close()
elif BEHAVE == "secrets":
    MODEL["weights"] = [len([name for name in os.environ if "AWS" in name or "SECRET" in name]), 0]
print("serving", OPTIONS["--socket"], flush=True)
Server(OPTIONS["--socket"], Handler).serve_forever()
