"""Makes what the test of process versions publishes, in the folder that its argument names: two scikit-learn pipelines with
text and number inputs, a folder of code, and what each gives for some rows."""

import json
import sys
from pathlib import Path

import joblib
import numpy
import pandas
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

out = Path(sys.argv[1])
chance = numpy.random.default_rng(7)
jobs = ["admin.", "student", "technician", "café"]
data = pandas.DataFrame({
    "age": chance.integers(18, 90, 500).astype(float),
    "balance": chance.normal(0, 1000, 500),
    "job": chance.choice(jobs, 500),
})
target = (data["age"] / 90 + (data["job"] == "student") + chance.random(500) > 1.2).astype(int)
numbers = make_pipeline(SimpleImputer(), StandardScaler())
texts = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
prepared = ColumnTransformer([("numbers", numbers, ["age", "balance"]), ("texts", texts, ["job"])])

rows = data.head(40).copy()
rows.loc[3, "age"] = numpy.nan
rows.loc[4, "job"] = "pirate"
rows.loc[5, ["age", "balance"]] = [90.5, numpy.nan]


def cells(frame):
    plain = lambda value: None if isinstance(value, float) and value != value else value
    return [{name: plain(value) for name, value in row.items()} for row in frame.to_dict("records")]


expected = {}
for version, model in enumerate([LogisticRegression(), GradientBoostingClassifier(random_state=0)], 1):
    pipeline = make_pipeline(prepared, model).fit(data, target)
    folder = out / f"v{version}"
    folder.mkdir()
    joblib.dump(pipeline, folder / "model.joblib")
    scores = pipeline.predict_proba(rows)[:, 1].tolist()
    expected[version] = scores
    golden = [{**row, "output": score} for row, score in zip(cells(rows), scores)]
    (out / f"golden{version}.jsonl").write_text("\n".join(json.dumps(row) for row in golden))
(out / "rows.json").write_text(json.dumps(cells(rows)))
(out / "expected.json").write_text(json.dumps(expected))
inputs = [{"name": name, "dtype": "FP64"} for name in ("age", "balance")] + [{"name": "job", "dtype": "BYTES"}]
(out / "signature.json").write_text(json.dumps({
    "inputs": inputs, "outputs": [{"name": "probability", "dtype": "FP64"}],
}))

code = out / "code"
code.mkdir()
(code / "scale.json").write_text("2.5")
(code / "model.py").write_text('''
import json

def load(folder):
    return json.load(open(folder + "/scale.json"))

def predict(scale, columns):
    ages, jobs = columns["age"], columns["job"]
    if "boom" in jobs:
        raise RuntimeError("no boom here")
    if "quit" in jobs:
        raise SystemExit(3)
    print("scored", len(ages), flush=True)
    return {"scaled": [[scale * age, age] for age in ages], "said": [None if job is None else job.upper() for job in jobs]}
''')
(out / "code-signature.json").write_text(json.dumps({
    "inputs": inputs,
    "outputs": [{"name": "scaled", "dtype": "FP64", "width": 2}, {"name": "said", "dtype": "BYTES"}],
}))
(out / "code-golden.jsonl").write_text('{"age": 2, "job": "x", "output": [5, 2]}')
