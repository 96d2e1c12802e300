"""The model, and the calls that all servers answer: rows as request bodies in each form, and LightGBM's own scores."""

import json
import pathlib
import shutil
import sys

import lightgbm
import numpy

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "bench-engine"))
import models
import prepare

TREES, LEAVES = 500, 63
NAME = f"{TREES}x{LEAVES}"
# For each number of rows in a call: how many different calls there are.
CALLS = {1: 256, 100: 16}
GOLDEN_ROWS = 32


def make_model(folder, trained):
    """The model's text and its ONNX form in `folder`, made once; trained by whoever benchmarked the engine here, or now."""
    folder.mkdir(parents=True, exist_ok=True)
    text, onnx = folder / f"{NAME}.txt", folder / f"{NAME}.onnx"
    if not text.exists():
        if (trained / text.name).exists():
            shutil.copy(trained / text.name, text)
        else:
            print(f"training {NAME} on {models.TRAINING_ROWS:,} rows, once", file=sys.stderr)
            models.make(folder, models.train_lightgbm, models.write_lightgbm, TREES, LEAVES)
    if not onnx.exists():
        print(f"converting {NAME} to ONNX, once", file=sys.stderr)
        unfinished = onnx.with_suffix(".unfinished")
        prepare.convert_onnx(text, unfinished)
        unfinished.rename(onnx)
    return text, onnx


def make_rows(booster):
    """Rows of six digits after the point, that read as floats of 32 bits get the same score, and that score."""
    count = GOLDEN_ROWS + sum(rows * calls for rows, calls in CALLS.items())
    rows = numpy.round(models.make_rows(2 * count, seed=4), 6)
    scores = booster.predict(rows, num_threads=1)
    same = scores == booster.predict(rows.astype(numpy.float32), num_threads=1)
    return rows[same][:count], scores[same][:count]


def six_digits(row):
    return ",".join(f"{value:.6f}" for value in row)


def all_digits(row):
    """As many digits as it takes to read the same number again: for numbers that went through a float, 16 to 18."""
    return ",".join(repr(float(value)) for value in row.astype(numpy.float32).astype(numpy.float64))


def instances(rows, write=six_digits):
    """Protocol v1, which the FastAPI and Flask peers take too."""
    return ('{"instances":[' + ",".join(f"[{write(row)}]" for row in rows) + "]}").encode()


def tensor(rows):
    """Protocol v2 in JSON: one tensor."""
    head = f'{{"inputs":[{{"name":"rows","shape":[{len(rows)},{rows.shape[1]}],"datatype":"FP64","data":['
    return (head + ",".join(six_digits(row) for row in rows) + "]}]}").encode()


def binary_head(rows):
    """The JSON before a binary tensor."""
    size = rows.size * 8
    head = {
        "inputs": [{
            "name": "rows", "shape": list(rows.shape), "datatype": "FP64", "parameters": {"binary_data_size": size},
        }],
        "parameters": {"binary_data_output": True},
    }
    return json.dumps(head, separators=(",", ":")).encode()


def binary(rows):
    """Protocol v2 with the tensor in binary."""
    return binary_head(rows) + rows.astype("<f8").tobytes()


# For each call of the plan: how many rows, and how they are written.
FORMS = {
    "instances-1": (1, instances),
    "instances-100": (100, instances),
    "tensor-1": (1, tensor),
    "tensor-100": (100, tensor),
    "binary-1": (1, binary),
    "binary-100": (100, binary),
    "digits-100": (100, lambda rows: instances(rows, all_digits)),
}


def write(folder, booster):
    """Writes every form's bodies into a folder of its name, with the scores beside it, and golden rows."""
    rows, scores = make_rows(booster)
    with open(folder / "golden.jsonl", "w") as golden:
        names, margins = booster.feature_name(), booster.predict(rows[:GOLDEN_ROWS], raw_score=True, num_threads=1)
        for row, margin, score in zip(rows, margins, scores):
            cells = dict(zip(names, map(float, row))) | {"margin": float(margin), "output": float(score)}
            golden.write(json.dumps(cells) + "\n")
    begins, at = {}, GOLDEN_ROWS
    for count, calls in CALLS.items():
        begins[count] = at
        at += count * calls
    for form, (count, body) in FORMS.items():
        (folder / form).mkdir(parents=True)
        expected = []
        for call in range(CALLS[count]):
            chosen = slice(begins[count] + call * count, begins[count] + (call + 1) * count)
            (folder / form / f"{call:04}").write_bytes(body(rows[chosen]))
            expected.append(scores[chosen].tolist())
        (folder / f"{form}.scores.json").write_text(json.dumps(expected))
    return {"json_length": {count: len(binary_head(rows[:count])) for count in CALLS}}
