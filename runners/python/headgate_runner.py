#!/usr/bin/env python3
"""Serves a folder with Python code, or with a pickled pipeline, to a Headgate backend.

    headgate_runner.py --folder DIR --socket PATH [--signature FILE] [--threads N]

The folder has one of

- `model.py` with `load(folder)`, which is called once and gives anything, and `predict(model, columns)`. Where there is no
  `load`, it is `predict(columns)`. `columns` maps each input's name to a list with a value for each row: numbers are floats
  (or ints, bools, as the signature says) with NaN for missing, texts are strs with None for missing. The answer maps the
  outputs' names to lists, or arrays, of a number (or a list of numbers) for each row; where there is one output, the list
  alone will do.
- `model.joblib` or `model.pkl`: a scikit-learn pipeline, or anything with `predict_proba` or `predict`. It gets a pandas
  DataFrame with the inputs as columns. Of `predict_proba`'s columns all are given where the output is as wide, and the last
  where it is one number.

It speaks the Open Inference Protocol v2 over HTTP/1.1 on a Unix socket, and needs nothing but Python's own library and what
the model needs. Connections are read side by side; the model scores one call at a time unless `--threads` says more.
"""

import argparse
import importlib.util
import inspect
import json
import os
import signal
import socketserver
import sys
import threading
import traceback
from http.server import BaseHTTPRequestHandler
from pathlib import Path

BODY_BYTES_MAX = 1 << 30


class CallError(Exception):
    """The call is wrong: answered with 400."""


# --- the model -------------------------------------------------------------------------------------------------------


class Code:
    """A folder with `model.py`."""

    def __init__(self, folder, signature):
        spec = importlib.util.spec_from_file_location("model", folder / "model.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules["model"] = module
        spec.loader.exec_module(module)
        self.outputs = signature["outputs"]
        self.predict_with = module.predict
        self.model = module.load(str(folder)) if hasattr(module, "load") else None
        self.takes_model = len(inspect.signature(module.predict).parameters) > 1

    def predict(self, columns):
        given = self.predict_with(self.model, columns) if self.takes_model else self.predict_with(columns)
        if isinstance(given, dict):
            return given
        return {values(self.outputs)[0]["name"]: given}


class Pipeline:
    """A folder with a pickled pipeline."""

    def __init__(self, path, signature):
        if path.suffix == ".joblib":
            import joblib

            self.model = joblib.load(path)
        else:
            import pickle

            with open(path, "rb") as file:
                self.model = pickle.load(file)
        import pandas

        self.frame = pandas.DataFrame
        self.outputs = values(signature["outputs"])

    def predict(self, columns):
        frame = self.frame(columns)
        given = {}
        for output in self.outputs:
            # Classes are predicted where texts or whole numbers are wanted, probabilities elsewhere.
            wants_class = output["dtype"] == "BYTES" or "INT" in output["dtype"]
            if hasattr(self.model, "predict_proba") and not wants_class:
                scores = self.model.predict_proba(frame)
                given[output["name"]] = scores if output.get("width", 1) > 1 else scores[:, -1]
            else:
                given[output["name"]] = self.model.predict(frame)
        return given


def values(outputs):
    return [output for output in outputs if output.get("role", "value") == "value"]


def load(folder, signature):
    # What a model or a pickle imports may lie beside it.
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    if (folder / "model.py").exists():
        return Code(folder, signature)
    for name in ("model.joblib", "model.pkl"):
        if (folder / name).exists():
            return Pipeline(folder / name, signature)
    there = ", ".join(sorted(path.name for path in folder.iterdir())) or "nothing"
    raise SystemExit(f"{folder} has {there}: model.py, model.joblib or model.pkl expected")


# --- calls and answers -----------------------------------------------------------------------------------------------


def flat(data):
    for value in data:
        if isinstance(value, list):
            yield from flat(value)
        else:
            yield value


def column(tensor):
    """A tensor's values as the model takes them."""
    data = list(flat(tensor["data"]))
    datatype = tensor["datatype"]
    if datatype == "BYTES":
        return data
    if datatype.startswith("FP"):
        # float() reads "Infinity", too.
        return [float("nan") if value is None else float(value) for value in data]
    return [float("nan") if value is None else value for value in data]


def read(body, inputs):
    """The columns of a call by name, how many rows they have, and the outputs asked for."""
    try:
        call = json.loads(body)
        tensors = {tensor["name"]: tensor for tensor in call["inputs"]}
        asked = [output["name"] for output in call.get("outputs") or []]
    except (ValueError, KeyError, TypeError) as error:
        raise CallError(f"the body is no call: {error!r}") from error
    columns = {}
    rows = None
    for name in [known["name"] for known in inputs] or list(tensors):
        if name not in tensors:
            raise CallError(f"input '{name}' is missing")
        columns[name] = column(tensors[name])
        if rows is not None and len(columns[name]) != rows:
            raise CallError(f"input '{name}' has {len(columns[name])} values, {rows} expected")
        rows = len(columns[name])
    return columns, rows or 0, asked


def plain(value):
    """A value as JSON has it: numpy's and pandas' as Python's, what JSON lacks as null or a word."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        if value != value:
            return None
        if value in (float("inf"), float("-inf")):
            return "Infinity" if value > 0 else "-Infinity"
    return value


def answer(given, rows, signature, asked):
    """The answer's body."""
    outputs = []
    for output in signature["outputs"]:
        name = output["name"]
        if asked and name not in asked:
            continue
        if name not in given:
            raise ValueError(f"predict gave no '{name}'")
        data = plain(given[name])
        width = output.get("width", 1)
        shape = [rows] if width == 1 else [rows, width]
        if output["dtype"] == "BYTES":
            data = [None if value is None else str(value) for value in flat(data)]
        outputs.append({"name": name, "shape": shape, "datatype": output["dtype"], "data": data})
    return {"outputs": outputs}


# --- HTTP ------------------------------------------------------------------------------------------------------------


class Handler(BaseHTTPRequestHandler):
    """One connection, which is kept."""

    protocol_version = "HTTP/1.1"
    # What the answer has of head and body goes out together.
    wbufsize = -1

    def address_string(self):
        return "backend"

    def log_message(self, *_):
        """Calls are logged by the backend."""

    def say(self, status, document):
        body = json.dumps(document, allow_nan=False).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def do_GET(self):
        server = self.server
        if self.path in ("/v2/health/ready", "/v2/health/live"):
            self.say(200, {"ready": True})
        elif self.path == "/v2":
            self.say(200, {"name": "headgate_runner", "version": "1", "extensions": []})
        elif self.path.startswith("/v2/models/"):
            tensor = lambda known: {"name": known["name"], "datatype": known["dtype"], "shape": [-1, known.get("width", 1)]}
            inputs, outputs = server.signature["inputs"], server.signature["outputs"]
            self.say(200, {
                "name": os.environ.get("HEADGATE_MODEL", "model"),
                "versions": [os.environ.get("HEADGATE_VERSION", "1")],
                "platform": "python",
                "inputs": [tensor(known) for known in inputs],
                "outputs": [tensor(known) for known in outputs],
            })
        else:
            self.say(404, {"error": f"nothing is at {self.path}"})

    def do_POST(self):
        length = int(self.headers.get("Content-Length") or 0)
        if length > BODY_BYTES_MAX:
            self.close_connection = True
            return self.say(413, {"error": f"{length} bytes, at most {BODY_BYTES_MAX}"})
        body = self.rfile.read(length)
        if not self.path.endswith("/infer"):
            return self.say(404, {"error": f"nothing is at {self.path}"})
        server = self.server
        try:
            columns, rows, asked = read(body, server.signature["inputs"])
            with server.places:
                given = server.model.predict(columns)
            document = answer(given, rows, server.signature, asked)
        except CallError as error:
            return self.say(400, {"error": str(error)})
        # Code that means to end its program fails its call: the others go on.
        except (Exception, SystemExit) as error:
            traceback.print_exc()
            return self.say(500, {"error": f"{type(error).__name__}: {error}"})
        self.say(200, document)


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path, model, signature, threads):
        self.model = model
        self.signature = signature
        self.places = threading.BoundedSemaphore(threads)
        super().__init__(path, Handler)

    def handle_error(self, request, client_address):
        """A connection that broke off: its caller has given up."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", required=True, type=Path)
    parser.add_argument("--socket", required=True)
    parser.add_argument("--signature", type=Path, help="JSON with 'inputs' and 'outputs'")
    parser.add_argument("--threads", type=int, default=1, help="calls that the model scores at once")
    args = parser.parse_args()
    # Ends at once: the backend asks only when no call is left.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signature = json.loads(args.signature.read_text()) if args.signature else {"inputs": [], "outputs": []}
    model = load(args.folder.resolve(), signature)
    # Bound when the model is there: who can connect need not wait.
    with Server(args.socket, model, signature, args.threads) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
