"""Compares what is served with what LightGBM itself says: margins to the bit, probabilities within 2 units in the last place.

usage: bank.py DATA GATEWAY STORE
"""

import csv
import glob
import gzip
import json
import math
import struct
import sys
import urllib.request

import lightgbm
import numpy

ROWS = 1000
CHUNK = 250


def ordered(value):
    """Neighbouring floats are neighbouring integers."""
    bits = struct.unpack("<q", struct.pack("<d", value))[0]
    return bits if bits >= 0 else -(2**63) - bits


def served(gateway, model, version, rows):
    """Version that answered, margins and probabilities, asked for through the gateway in chunks."""
    margins, probabilities = [], []
    path = f"http://{gateway}/v2/models/{model}/versions/{version}/infer"
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        inputs = []
        for name in chunk[0]:
            values = [row[name] for row in chunk]
            datatype = "BYTES" if any(isinstance(value, str) for value in values) else "FP64"
            inputs.append({"name": name, "shape": [len(chunk)], "datatype": datatype, "data": values})
        body = {"inputs": inputs, "outputs": [{"name": "margin"}, {"name": "probability"}]}
        reply = urllib.request.urlopen(path, json.dumps(body).encode(), timeout=30)
        assert reply.headers["x-headgate-version"] == str(version), reply.headers
        outputs = {output["name"]: output["data"] for output in json.load(reply)["outputs"]}
        margins += outputs["margin"]
        probabilities += outputs["probability"]
    return margins, probabilities


def compare(gateway, store, model, version, rows):
    folder = f"{store}/models/{model}/version={version}"
    manifest = json.load(open(f"{folder}/manifest.json"))
    (artifact,) = glob.glob(f"{folder}/files/*")
    booster = lightgbm.Booster(model_file=artifact)
    inputs = manifest["signature"]["inputs"]

    def number(value, categories):
        if categories is None:
            return float(value)
        return float(categories.index(value)) if value in categories else math.nan

    known = [{i["name"]: row[i["name"]] for i in inputs} for row in rows]
    asked = [{i["name"]: row[i["name"]] if "categories" in i else float(row[i["name"]]) for i in inputs} for row in known]
    matrix = numpy.array([[number(row[i["name"]], i.get("categories")) for i in inputs] for row in known])
    expected_margins = booster.predict(matrix, raw_score=True)
    expected = booster.predict(matrix)
    margins, probabilities = served(gateway, model, version, asked)
    for row, (got, want) in enumerate(zip(margins, expected_margins)):
        assert struct.pack("<d", got) == struct.pack("<d", want), f"{model} row {row}: margin {got!r}, not {want!r}"
    worst = max(abs(ordered(got) - ordered(want)) for got, want in zip(probabilities, expected))
    assert worst <= 2, f"{model}: probabilities differ by {worst} units in the last place"
    print(f"{model} version {version}: {len(rows)} rows agree, margins to the bit, probabilities within {worst} ulp")


def main(data, gateway, store):
    with gzip.open(data, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    step = len(rows) // ROWS
    some = rows[::step][:ROWS]
    for version in (1, 2):
        compare(gateway, store, "bank", version, some)
    for job in ("admin.", "self-employed"):
        compare(gateway, store, f"bank/{job}", 1, [row for row in rows if row["job"] == job][:ROWS])


if __name__ == "__main__":
    main(*sys.argv[1:])
