"""A server of a plan, started here, loaded and looked at from outside. Its processes lead sessions of their own and are
stopped by their ids, whatever ends the run."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

READY_WITHIN_S = 60.0
STOP_WITHIN_S = 5.0
TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """Something could not be looked at, and why."""


def end_on_signals():
    """Lets SIGTERM and Ctrl-C end the program without a trace, and with all that it started."""
    def end(number, _):
        raise SystemExit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)


def session_of(stat):
    """Process and session of a line of /proc/PID/stat; the name in it may hold anything."""
    return int(stat.split(" ", 1)[0]), int(stat.rsplit(")", 1)[1].split()[3])


def members(leader):
    """The processes of a session."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, session = session_of(path.read_text())
        except (OSError, ValueError, IndexError):
            continue
        if session == leader:
            found.append(pid)
    return found


class Started:
    """A running server: `with Started(server, logs) as started`."""

    def __init__(self, server, logs, loadtests, **environment):
        self.server, self.logs, self.loadtests = server, pathlib.Path(logs), loadtests
        self.environment, self.running = environment, {}

    def __enter__(self):
        self.logs.mkdir(parents=True, exist_ok=True)
        try:
            for process in self.server["processes"]:
                variables = os.environ | process["environment"]
                if not process.get("beside"):
                    variables |= {key: value.replace("@name@", process["name"]) for key, value in self.environment.items()}
                with open(self.logs / f"{process['name']}.log", "a") as log:
                    self.running[process["name"]] = subprocess.Popen(
                        [process["program"], *process["arguments"]], env=variables, stdin=subprocess.DEVNULL, stdout=log,
                        stderr=log, start_new_session=True,
                    )
            self.wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        for sent, patience in ((signal.SIGTERM, STOP_WITHIN_S), (signal.SIGKILL, 1.0)):
            for running in self.running.values():
                for pid in members(running.pid):
                    try:
                        os.kill(pid, sent)
                    except ProcessLookupError:
                        pass
            until = time.monotonic() + patience
            while any(running.poll() is None for running in self.running.values()) and time.monotonic() < until:
                time.sleep(0.05)

    def call(self):
        """The call that it is loaded with."""
        calls = self.server["calls"]
        return calls.get("post") or calls["json-1"]

    def body(self):
        return sorted(pathlib.Path(self.call()["bodies"]).iterdir())[0]

    def address(self):
        """Host and port of the call."""
        url = urllib.parse.urlsplit(self.call()["url"])
        return url.hostname, url.port

    def request(self):
        """The call as bytes."""
        url, body = urllib.parse.urlsplit(self.call()["url"]), self.body().read_bytes()
        head = [
            f"POST {url.path} HTTP/1.1", f"host: {url.netloc}", "content-type: application/json",
            f"content-length: {len(body)}", "", "",
        ]
        return "\r\n".join(head).encode() + body

    def wait(self):
        """Until it answers."""
        started, last = time.monotonic(), None
        while time.monotonic() - started < READY_WITHIN_S:
            for name, running in self.running.items():
                if running.poll() is not None:
                    raise Failed(f"{name} ended with {running.returncode}: see {self.logs / name}.log")
            request = urllib.request.Request(
                self.call()["url"], self.body().read_bytes(), {"content-type": "application/json"})
            try:
                with urllib.request.urlopen(request, timeout=5) as reply:
                    reply.read()
                    return
            except (OSError, urllib.error.URLError) as why:
                last = why
            time.sleep(0.1)
        raise Failed(f"no answer within {READY_WITHIN_S:.0f} s: {last}")

    def own(self):
        """The process ids of the server itself, by the name of its process."""
        beside = {process["name"] for process in self.server["processes"] if process.get("beside")}
        return {name: members(running.pid) for name, running in self.running.items() if name not in beside}

    def resident_bytes(self):
        """Memory that is resident, of all of its processes."""
        return sum(resident(pid) for pids in self.own().values() for pid in pids)

    def drive(self, seconds, clients, core):
        """Requests of so many clients in closed loop; how many were answered."""
        pinned = ["taskset", "-c", str(core)] if core is not None else []
        out = self.logs / "driven.json"
        out.unlink(missing_ok=True)
        # Failed requests are an exit code too; the report says how many.
        subprocess.run(
            [
                *pinned, self.loadtests, "run", "--url", self.call()["url"], "--closed", "--bare", "--connections",
                str(clients), "--duration", str(seconds), "--body", self.body(), "--json", out,
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False,
        )
        load = json.loads(out.read_text())["load"]
        if load["failed"]:
            raise Failed(f"{load['failed']} of {load['requests']} requests failed: {load['failures'][0]}")
        return load["requests"]


def resident(pid):
    """Resident memory of a process, in bytes; 0 where it is gone."""
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return 0


def cpu_s(pids):
    """Processor time of processes so far, in seconds."""
    total = 0
    for pid in pids:
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / TICKS_A_SECOND


def say(what):
    print(what, file=sys.stderr, flush=True)
