"""The servers: how each is started, and how it takes the calls. Each gets one thread for scoring and as many workers as
there are cores where it has workers, as its documentation has it."""

import json
import os
import pathlib
import shutil
import socket
import subprocess

PEERS = pathlib.Path(__file__).parent.resolve() / "peers"
WORKERS = 2


class LeftOut(Exception):
    """A server that can't be had here, and why."""


class Home:
    """Where things lie: environments, model, calls; and which ports are free."""

    def __init__(self, tools, out, headgate, text, onnx, json_length):
        self.tools, self.out, self.headgate = tools, out, headgate
        self.text, self.onnx, self.json_length = text, onnx, json_length
        self.held = []

    def port(self):
        """A free port; all are held until all are known, so that no two are the same."""
        held = socket.socket()
        held.bind(("127.0.0.1", 0))
        self.held.append(held)
        return held.getsockname()[1]

    def release(self):
        for held in self.held:
            held.close()

    def program(self, environment, name):
        """A program of a peer's environment."""
        path = self.tools / environment / "bin" / name
        if not path.exists():
            notes = self.tools / f"{environment}.failed"
            raise LeftOut(notes.read_text().strip() if notes.exists() else f"not installed: {path}")
        return str(path)

    def folder(self, name):
        path = self.out / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def variables(self):
        """What every peer is told: where the model is, and that it has one thread."""
        return {"MODEL_TEXT": str(self.text), "MODEL_ONNX": str(self.onnx), "OMP_NUM_THREADS": "1"}

    def call(self, url, form, reply, headers=None):
        bodies = self.out / "calls" / form
        return {
            "url": url, "headers": headers or {}, "bodies": str(bodies), "scores": f"{bodies}.scores.json", "reply": reply,
        }

    def binary_headers(self, rows):
        return {
            "content-type": "application/octet-stream",
            "inference-header-content-length": str(self.json_length[rows]),
        }


PREDICTIONS = {"pointer": "/predictions"}
TENSOR = {"pointer": "/outputs/0/data"}


def process(name, program, *arguments, **environment):
    return {
        "name": name, "program": str(program), "arguments": [str(word) for word in arguments], "environment": environment,
    }


def v1(home, url):
    """The calls of a server that takes rows as `instances`."""
    return {f"json-{rows}": home.call(url, f"instances-{rows}", PREDICTIONS) for rows in (1, 100)}


def v2(home, url):
    """The calls of a server that takes one tensor in JSON."""
    return {f"json-{rows}": home.call(url, f"tensor-{rows}", TENSOR) for rows in (1, 100)}


def headgate_calls(home, port):
    url = f"http://127.0.0.1:{port}"
    v1_url, v2_url = f"{url}/v1/models/bench:predict", f"{url}/v2/models/bench/infer"
    calls = v1(home, v1_url) | {f"tensor-{rows}": call for rows, call in zip((1, 100), v2(home, v2_url).values())}
    calls["digits-100"] = home.call(v1_url, "digits-100", PREDICTIONS)
    for rows in (1, 100):
        calls[f"binary-{rows}"] = home.call(v2_url, f"binary-{rows}", "binary", home.binary_headers(rows))
    return calls


def backend(home, name, port):
    cache = home.folder(f"cache-{name}")
    return process(
        "backend", home.headgate, "backend", "--listen", f"127.0.0.1:{port}", "--store", f"file://{home.out}/store",
        "--set", f"cache.dir={cache}", "--set", f"instance={name}",
    )


def headgate(home):
    port = home.port()
    return {"processes": [backend(home, "alone", port)], "calls": headgate_calls(home, port)}


def headgate_gateway(home):
    port, admin, behind = home.port(), home.port(), home.port()
    gateway = process(
        "gateway", home.headgate, "gateway", "--listen", f"127.0.0.1:{port}", "--admin", f"127.0.0.1:{admin}",
        "--backend", f"127.0.0.1:{behind}",
    )
    return {"processes": [backend(home, "behind", behind), gateway], "calls": headgate_calls(home, port)}


def uvicorn(home, application):
    port = home.port()
    server = process(
        application, home.program("python", "uvicorn"), f"{application}:app", "--app-dir", PEERS, "--port", port,
        "--workers", WORKERS, "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning",
        **home.variables(),
    )
    return {"processes": [server], "calls": v1(home, f"http://127.0.0.1:{port}/predict")}


def gunicorn(home, name, bind):
    return process(
        name, home.program("python", "gunicorn"), "flask_lightgbm:app", "--chdir", PEERS, "--bind", bind,
        "--workers", WORKERS, "--log-level", "warning", **home.variables(),
    )


def gunicorn_alone(home):
    port = home.port()
    server = gunicorn(home, "gunicorn", f"127.0.0.1:{port}")
    return {"processes": [server], "calls": v1(home, f"http://127.0.0.1:{port}/predict")}


def nginx_gunicorn(home):
    nginx = shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")
    if not nginx:
        raise LeftOut("nginx is not installed (on Debian: apt-get install nginx-light)")
    port, folder = home.port(), home.folder("nginx")
    configuration = (PEERS / "nginx.conf").read_text().replace("@folder@", str(folder)).replace("@port@", str(port))
    (folder / "nginx.conf").write_text(configuration)
    front = process("nginx", nginx, "-p", folder, "-c", folder / "nginx.conf")
    behind = gunicorn(home, "gunicorn-behind", f"unix:{folder}/gunicorn.sock")
    return {"processes": [behind, front], "calls": v1(home, f"http://127.0.0.1:{port}/predict")}


def kserve(home):
    port = home.port()
    server = process(
        "kserve", home.program("kserve", "python"), PEERS / "kserve_lightgbm.py", "--http_port", port, "--workers", WORKERS,
        **home.variables(),
    )
    return {"processes": [server], "calls": v1(home, f"http://127.0.0.1:{port}/v1/models/bench:predict")}


def mlserver(home):
    program, folder = home.program("mlserver", "mlserver"), home.folder("mlserver")
    port = home.port()
    # Without workers, in the server's own process: with them each request is handed over, which costs twice and more.
    settings = {
        "host": "127.0.0.1", "http_port": port, "grpc_port": home.port(), "metrics_port": home.port(),
        "parallel_workers": 0, "debug": False, "metrics_endpoint": None,
    }
    model = {
        "name": "bench", "implementation": "mlserver_lightgbm.LightGBMModel",
        "parameters": {"uri": str(home.text), "version": "1"},
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    server = process("mlserver", program, "start", folder, **home.variables())
    return {"processes": [server], "calls": v2(home, f"http://127.0.0.1:{port}/v2/models/bench/infer")}


TRITON_MODEL = """name: "bench"
backend: "python"
max_batch_size: 1024
input [{ name: "rows", data_type: TYPE_FP64, dims: [50] }]
output [{ name: "probability", data_type: TYPE_FP64, dims: [1], reshape: { shape: [] } }]
instance_group [{ kind: KIND_CPU, count: @instances@ }]
@batching@
"""


def triton_folder(home, name, batching):
    """A model repository, and the Python backend with the stub for this Python, as Triton wants them to lie."""
    python = home.program("triton", "python")
    asked = "import pytriton, sysconfig as s, sys; " \
        "print(pytriton.__path__[0], s.get_path('purelib'), s.get_config_var('LIBDIR'), '%d.%d' % sys.version_info[:2])"
    package, site, libraries, version = subprocess.run(
        [python, "-c", asked], check=True, capture_output=True, text=True).stdout.split()
    triton = pathlib.Path(package) / "tritonserver"
    stub = triton / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.exists():
        raise LeftOut(f"its Python backend has no stub for Python {version}")
    folder = home.folder(name)
    model = folder / "models" / "bench"
    (model / "1").mkdir(parents=True, exist_ok=True)
    shutil.copy(PEERS / "triton_lightgbm.py", model / "1" / "model.py")
    instances = 1 if batching else WORKERS
    configuration = TRITON_MODEL.replace("@instances@", str(instances))
    (model / "config.pbtxt").write_text(configuration.replace("@batching@", "dynamic_batching {}" if batching else ""))
    shutil.copytree(triton / "backends", folder / "backends", dirs_exist_ok=True)
    shutil.copy(stub, folder / "backends" / "python")
    # The stub takes the environment of the first Python in the path.
    environment = home.variables() | {
        "LD_LIBRARY_PATH": f"{site}/nvidia_pytriton.libs:{libraries}",
        "PATH": f"{pathlib.Path(python).parent}:{os.environ['PATH']}",
    }
    return triton, folder, environment


def triton(home, name="triton", batching=False):
    program, folder, environment = triton_folder(home, name, batching)
    port = home.port()
    server = process(
        name, program / "bin" / "tritonserver", "--model-repository", folder / "models", "--backend-directory",
        folder / "backends", "--http-address", "127.0.0.1", "--http-port", port, "--allow-grpc=false",
        "--allow-metrics=false", "--log-info=false", **environment,
    )
    url = f"http://127.0.0.1:{port}/v2/models/bench/infer"
    calls = v2(home, url)
    for rows in (1, 100):
        calls[f"binary-{rows}"] = home.call(url, f"binary-{rows}", "binary", home.binary_headers(rows))
    return {"processes": [server], "calls": calls}


def triton_batching(home):
    return triton(home, "triton-batching", batching=True)


# In the order of the table.
SERVERS = {
    "headgate": headgate,
    "headgate-gateway": headgate_gateway,
    "fastapi-onnx": lambda home: uvicorn(home, "fastapi_onnx"),
    "fastapi-onnx-typed": lambda home: uvicorn(home, "fastapi_onnx_typed"),
    "fastapi-lightgbm": lambda home: uvicorn(home, "fastapi_lightgbm"),
    "gunicorn": gunicorn_alone,
    "nginx-gunicorn": nginx_gunicorn,
    "kserve": kserve,
    "mlserver": mlserver,
    "triton": triton,
    "triton-batching": triton_batching,
}
OURS = ["headgate", "headgate-gateway"]
