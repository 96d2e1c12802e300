"""Starts what clients are tested against: a store with published models, a backend, a gateway.

usage: system.py COMMAND...     runs the command beside it, and ends as the command did

The command finds in HEADGATE_SYSTEM a JSON file: `direct` and `gateway` (host:port), and `models`, for each its inputs,
rows, and the values that the training library gives for each output of these rows. Standard library only. The program is
HEADGATE_BIN, else target/debug/headgate; the Python that trains is HEADGATE_PYTHON, else .venv/bin/python.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PATIENCE_S = 90
MODELS = {
    "bank": ["model.txt"],
    "grade": ["model.txt", "--classes", "low,middle,high"],
    "kinds": ["code", "--process", "python", "--signature", "signature.json"],
    "slow": ["code", "--process", "python", "--signature", "signature.json"],
}


class System:
    """A running system, in a folder of its own; a context manager."""

    def __enter__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="headgate-clients-")
        self.path = Path(self.folder.name)
        self.processes = []
        try:
            self.file = self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
        self.folder.cleanup()

    def _start(self):
        python = Path(os.environ.get("HEADGATE_PYTHON") or ROOT / ".venv/bin/python").absolute()
        subprocess.run([python, HERE / "models.py", self.path / "models"], check=True)
        self.environment = os.environ | {"HEADGATE_STORE": f"file://{self.path}/store"}
        for model, arguments in MODELS.items():
            self._headgate(self.path / "models" / model, model, arguments)
        direct, gateway, admin = (f"127.0.0.1:{port}" for port in free_ports(3))
        argv = json.dumps([str(python), "{python-runner}"])
        self._serve("backend", "--listen", direct, "--cache", self.path / "cache", "--set", "default_model=bank",
                    "--set", f"process.commands.python.argv={argv}")
        self._ready(direct)
        self._serve("gateway", "--listen", gateway, "--admin", admin, "--backend", direct,
                    "--set", "server.default_model=bank")
        self._ready(gateway)
        known = {model: json.loads((self.path / "models" / model / "known.json").read_text()) for model in MODELS}
        file = self.path / "system.json"
        file.write_text(json.dumps({"direct": direct, "gateway": gateway, "models": known}))
        return file

    def _headgate(self, folder, model, arguments):
        command = [program(), "publish", *arguments, "--model", model, "--golden", "golden.jsonl", "--promote"]
        done = subprocess.run(command, cwd=folder, env=self.environment, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"publish {model}: {done.stderr}")

    def _serve(self, part, *arguments):
        log = self.path / f"{part}.log"
        with open(log, "wb") as out:
            command = [program(), part, *arguments]
            self.processes.append(subprocess.Popen(command, env=self.environment, stdout=out, stderr=out))
        self.log = log

    def _ready(self, address):
        """Waits until every model answers at this address."""
        deadline = time.monotonic() + PATIENCE_S
        waiting = [f"http://{address}/v2/models/{model}/ready" for model in MODELS]
        while waiting:
            waiting = [url for url in waiting if status(url) != 200]
            ended = self.processes[-1].poll() is not None
            if ended or time.monotonic() > deadline:
                raise RuntimeError(f"{', '.join(waiting)}: not ready:\n{self.log.read_text()[-4000:]}")
            if waiting:
                time.sleep(0.05)


def program():
    return Path(os.environ.get("HEADGATE_BIN") or ROOT / "target/debug/headgate").absolute()


def status(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


def free_ports(count):
    """Ports that nobody listens on now: all are held until all are known."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


def main(command):
    with System() as system:
        sys.exit(subprocess.run(command, env=os.environ | {"HEADGATE_SYSTEM": str(system.file)}).returncode)


if __name__ == "__main__":
    main(sys.argv[1:])
