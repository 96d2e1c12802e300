"""Runs schemathesis over the OpenAPI documents of a running system, the server's and models' own, directly and through
the gateway.

usage: run.py [ARGUMENT...]     arguments go to schemathesis

The system is the one that HEADGATE_SYSTEM names, else one that is started here (clients/system.py).
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from system import System  # noqa: E402

# Models that take any row at once.
MODELS = ["bank", "grade", "kinds"]
EXAMPLES = 40
LIMIT_S = 300


def documents(system):
    """The addresses of all documents."""
    for door in ("direct", "gateway"):
        yield f"http://{system[door]}/openapi.json"
        for model in MODELS:
            yield f"http://{system[door]}/v2/models/{model}/openapi.json"


def tried(url, arguments):
    """Whether every operation of a document answers as the document says."""
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", HERE / "schemathesis.toml", "run", url,
               "--max-examples", str(EXAMPLES), "--no-color", *arguments]
    # It leaves files where it runs.
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(command, cwd=folder, env=os.environ | {"PYTHONPATH": str(HERE)}, timeout=LIMIT_S, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    cases = [line for line in done.stdout.splitlines() if "generated" in line]
    print(f"schemathesis: {url}: exit code {done.returncode}: {' '.join(cases).strip()}", flush=True)
    if done.returncode != 0:
        print(done.stdout)
    return done.returncode == 0


def main(arguments):
    if named := os.environ.get("HEADGATE_SYSTEM"):
        failed = [url for url in documents(json.loads(Path(named).read_text())) if not tried(url, arguments)]
    else:
        with System() as system:
            failed = [url for url in documents(json.loads(system.file.read_text())) if not tried(url, arguments)]
    for url in failed:
        print(f"schemathesis: failed: {url}", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(sys.argv[1:])
