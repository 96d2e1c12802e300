"""Trains the models that clients are tested with, and writes what the training library says of some rows.

usage: models.py FOLDER     (in an environment with lightgbm, numpy and pandas)

Writes FOLDER/<model>/ with the file to publish, `golden.jsonl`, and `known.json`: inputs, rows, and for each output the
values that are known of the rows.
"""

import json
import math
import sys
from pathlib import Path

import lightgbm
import numpy
import pandas

TRAINED = 2000
KNOWN = 40
JOBS = ["clerk", "baker", "Ärztin", "smith, and son"]
SETTINGS = {"num_leaves": 15, "learning_rate": 0.2, "min_data_in_leaf": 5, "num_threads": 1, "verbose": -1, "seed": 1}


def frame(random, rows):
    """People: numbers with some missing, and a category with values that need escapes."""
    data = {
        "age": random.integers(18, 80, rows).astype(float),
        "balance": random.normal(1000, 800, rows),
        "campaign": random.integers(0, 9, rows).astype(float),
        "job": pandas.Categorical(random.choice(JOBS, rows), categories=JOBS),
    }
    table = pandas.DataFrame(data)
    table.loc[random.random(rows) < 0.1, "balance"] = math.nan
    table.loc[random.random(rows) < 0.1, "job"] = None
    return table


def target(random, table, classes):
    codes = table["job"].cat.codes.to_numpy()
    signal = table["age"] / 20 + codes + numpy.nan_to_num(table["balance"]) / 700 + random.normal(0, 0.7, len(table))
    return numpy.digitize(signal, numpy.quantile(signal, numpy.linspace(0, 1, classes + 1)[1:-1]))


def plain(value):
    """A cell as JSON has it: what is missing is null."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    return value


def write(folder, name, inputs, rows, outputs, golden):
    """`outputs`: name -> values, a row each. `golden`: a dictionary of results for each row."""
    known = {"inputs": inputs, "rows": rows, "outputs": outputs}
    (folder / name / "known.json").write_text(json.dumps(known))
    lines = [json.dumps(dict(zip((i["name"] for i in inputs), row)) | result) for row, result in zip(rows, golden)]
    (folder / name / "golden.jsonl").write_text("\n".join(lines) + "\n")


def train(folder, name, classes):
    """A LightGBM model of two classes or more."""
    random = numpy.random.default_rng(7)
    table = frame(random, TRAINED)
    objective = {"objective": "binary"} if classes == 2 else {"objective": "multiclass", "num_class": classes}
    data = lightgbm.Dataset(table, target(random, table, classes))
    booster = lightgbm.train(SETTINGS | objective, data, num_boost_round=20)
    (folder / name).mkdir(parents=True)
    booster.save_model(folder / name / "model.txt")
    some = table.head(KNOWN)
    margins, values = booster.predict(some, raw_score=True).tolist(), booster.predict(some).tolist()
    rows = [[plain(value) for value in row] for row in some.astype(object).to_numpy().tolist()]
    inputs = [{"name": c, "datatype": "BYTES" if c == "job" else "FP64"} for c in some.columns]
    if classes == 2:
        outputs = {"probability": values, "margin": margins}
        golden = [{"margin": margin, "output": value} for margin, value in zip(margins, values)]
    else:
        outputs = {"probabilities": values, "margin": margins}
        golden = [{f"margin_{at}": m for at, m in enumerate(row)} | {"output": v} for row, v in zip(margins, values)]
    write(folder, name, inputs, rows, outputs, golden)


CODE = '''"""Outputs of every kind, computed in a way that a reader can follow."""


def load(folder):
    return None


def predict(model, columns):
    count, ratio, text = columns["count"], columns["ratio"], columns["text"]
    return {
        "sum": [a + b for a, b in zip(count, ratio)],
        "half": [value / 2 for value in ratio],
        "twice": [int(value) * 2 for value in count],
        "both": [bool(flag) and value > 2 for flag, value in zip(columns["flag"], count)],
        "shout": [value.upper() for value in text],
    }
'''


def kinds(folder, name):
    """Code of its own, for the types of tensors that forests do not have."""
    (folder / name / "code").mkdir(parents=True)
    (folder / name / "code" / "model.py").write_text(CODE)
    inputs = [
        {"name": "count", "datatype": "INT64"},
        {"name": "ratio", "datatype": "FP32"},
        {"name": "flag", "datatype": "BOOL"},
        {"name": "text", "datatype": "BYTES"},
    ]
    rows = [[at, at * 0.25, at % 2 == 0, f"größe {at}"] for at in range(KNOWN)]
    scope = {}
    exec(CODE, scope)
    columns = {i["name"]: [row[at] for row in rows] for at, i in enumerate(inputs)}
    outputs = scope["predict"](None, columns)
    types = {"sum": "FP64", "half": "FP32", "twice": "INT64", "both": "BOOL", "shout": "BYTES"}
    signature = {
        "inputs": [{"name": i["name"], "dtype": i["datatype"]} for i in inputs],
        "outputs": [{"name": output, "dtype": dtype} for output, dtype in types.items()],
    }
    (folder / name / "signature.json").write_text(json.dumps(signature))
    write(folder, name, inputs, rows, outputs, [{"output": value} for value in outputs["sum"]])


SLOW = '''"""Takes as many seconds as the row says."""

import time


def load(folder):
    return None


def predict(model, columns):
    time.sleep(max(columns["seconds"]))
    return {"slept": columns["seconds"]}
'''


def slow(folder, name):
    """Code that outlasts a caller's patience."""
    (folder / name / "code").mkdir(parents=True)
    (folder / name / "code" / "model.py").write_text(SLOW)
    signature = {"inputs": [{"name": "seconds", "dtype": "FP64"}], "outputs": [{"name": "slept", "dtype": "FP64"}]}
    (folder / name / "signature.json").write_text(json.dumps(signature))
    write(folder, name, [{"name": "seconds", "datatype": "FP64"}], [[0]], {"slept": [0]}, [{"output": 0}])


def main(folder):
    train(Path(folder), "bank", 2)
    train(Path(folder), "grade", 3)
    kinds(Path(folder), "kinds")
    slow(Path(folder), "slow")


if __name__ == "__main__":
    main(*sys.argv[1:])
