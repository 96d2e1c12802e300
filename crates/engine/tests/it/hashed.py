"""Trains linear models on hashed features with scikit-learn and writes what scikit-learn itself gives.

usage: hashed.py FOLDER

The files are written by trainer/python/export_linear.py, as a user would. For each case the folder gets NAME.hgl,
NAME.jsonl (rows, each with its margins and outputs), and a line in cases.jsonl: name, and how far results may be apart.
The cases `places-...` have weights that are their own places, so that a row of one hit tells bucket and sign.
"""

import json
import pathlib
import sys
import warnings

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction import FeatureHasher
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge, SGDClassifier
from sklearn.pipeline import make_pipeline

sys.path.insert(0, str(pathlib.Path(__file__).parents[4] / "trainer/python"))
from export_linear import category, cross, export, golden, hash_of, number, tokens, tokens_of, weights_of

FOLDER = pathlib.Path(sys.argv[1])
CASES = []
RNG = np.random.default_rng(7)
WORDS = "São Paulo pão de açúcar über-cool x_1 don't 42 a I ΣΊΣΥΦΟΣ 東京 café naïve\tİstanbul Straße № 9.5% e-mail".split(" ")


def main():
    warnings.simplefilter("ignore", ConvergenceWarning)
    places()
    clicks()
    texts()
    columns()
    with open(FOLDER / "cases.jsonl", "w") as file:
        file.writelines(json.dumps(case) + "\n" for case in CASES)
    print(f"{len(CASES)} cases")


def case(name, rows, margins, outputs, within):
    golden(FOLDER / f"{name}.jsonl", rows, margins, outputs)
    CASES.append(dict(name=name, within=within))


def places():
    """Bucket and sign of every text, by every hash of scikit-learn's."""
    values = ["", "a", "ab", "abc", "abcd", "é", "東京", "x" * 1000] + [str(n) for n in range(300)]
    for buckets in (1, 2, 10, 1000, 2**20, 2**22 - 3):
        for signed in (True, False):
            hasher = FeatureHasher(buckets, alternate_sign=signed)
            matrix = hasher.transform([{"site": value} for value in values])
            name = f"places-{buckets}-{'signed' if signed else 'unsigned'}"
            places = np.arange(buckets, dtype=np.float64)
            export(FOLDER / f"{name}.hgl", places, 0.0, [category("site")], hash=hash_of(hasher), dtype="f64")
            margins = matrix @ places
            case(name, [{"site": value} for value in values], margins, margins, 0.0)


def clicks():
    """A click model: numbers, categories, crosses, several values in one text."""
    rows = [
        {"price": float(RNG.normal()) if RNG.random() < 0.9 else None, "site": f"s{RNG.integers(50)}",
         "ad": f"ad-{RNG.integers(200)}" if RNG.random() < 0.9 else None,
         "tags": "|".join(f"t{t}" for t in RNG.integers(0, 30, RNG.integers(0, 6)))}
        for _ in range(300)
    ]

    def features(row):
        found = {name: row[name] for name in ("price", "site", "ad") if row[name] is not None}
        if row["ad"] is not None:
            found["site^ad"] = f"{row['site']}^{row['ad']}"
        for tag in filter(None, row["tags"].split("|")):
            found[f"tag:{tag}"] = found.get(f"tag:{tag}", 0) + 1
        return found

    fields = [number("price"), category("site"), category("ad"), cross("site", "ad"), tokens("tags", {"on": "|"}, prefix="tag:")]
    clicked = np.array([(row["site"] < "s25") ^ (RNG.random() < 0.2) for row in rows])
    classes = np.array([len(row["tags"]) % 3 for row in rows])
    for buckets, signed in ((2**16, True), (2**16, False), (1000, True)):
        hasher = FeatureHasher(buckets, alternate_sign=signed)
        matrix = hasher.transform(features(row) for row in rows)
        for name, model, target in (
            ("sgd", SGDClassifier(loss="log_loss", random_state=0), clicked),
            ("sgd-classes", SGDClassifier(loss="log_loss", random_state=0), classes),
            ("logistic", LogisticRegression(max_iter=10), clicked),
            ("logistic-classes", LogisticRegression(max_iter=10), classes),
        ):
            model.fit(matrix, target)
            name = f"{name}-{buckets}-{signed}"
            margins, outputs = model.decision_function(matrix), model.predict_proba(matrix)
            outputs = outputs[:, 1] if margins.ndim == 1 else outputs
            for dtype, within in (("f64", 1e-12), ("f32", 1e-5)):
                export(FOLDER / f"{name}-{dtype}.hgl", **weights_of(model), fields=fields, hash=hash_of(hasher), dtype=dtype)
                case(f"{name}-{dtype}", rows, margins, outputs, within)
        model = PoissonRegressor(max_iter=10).fit(matrix, classes)
        export(FOLDER / f"poisson-{buckets}-{signed}.hgl", **weights_of(model), fields=fields, hash=hash_of(hasher), dtype="f64")
        outputs = model.predict(matrix)
        case(f"poisson-{buckets}-{signed}", rows, np.log(outputs), outputs, 1e-12)


def texts():
    """Texts through HashingVectorizer, by norm and count."""
    rows = [{"query": " ".join(RNG.choice(WORDS, RNG.integers(0, 30)))} for _ in range(300)]
    target = np.array([len(row["query"]) for row in rows], dtype=np.float64)
    for buckets in (2**18, 16, 50):
        for options in ({}, {"norm": None}, {"norm": "l1"}, {"binary": True}, {"lowercase": False}, {"alternate_sign": False},
                        {"binary": True, "norm": None, "lowercase": False}):
            vectorizer = HashingVectorizer(n_features=buckets, **options)
            model = Ridge().fit(vectorizer.transform(row["query"] for row in rows), target)
            name = f"text-{buckets}-" + "-".join(f"{key}-{value}" for key, value in options.items())
            fields = [tokens_of(vectorizer, "query")]
            export(FOLDER / f"{name}.hgl", **weights_of(model), fields=fields, hash=hash_of(vectorizer), dtype="f64")
            margins = model.predict(vectorizer.transform(row["query"] for row in rows))
            case(name, rows, margins, margins, 1e-11)


def columns():
    """Numbers beside two vectorized texts, each with columns of its own."""
    import pandas as pd
    frame = pd.DataFrame({
        "x": RNG.normal(size=300), "y": RNG.normal(size=300),
        "title": [" ".join(RNG.choice(WORDS, 4)) for _ in range(300)],
        "body": [" ".join(RNG.choice(WORDS, 20)) for _ in range(300)],
    })
    title, body = HashingVectorizer(n_features=1000), HashingVectorizer(n_features=2**14, norm=None)
    pipeline = make_pipeline(
        ColumnTransformer([("numbers", "passthrough", ["x", "y"]), ("title", title, "title"), ("body", body, "body")]),
        LogisticRegression(max_iter=10),
    ).fit(frame, frame["x"] + frame["title"].str.len() % 2 > 0)
    fields = [number("x", index=0), number("y", index=1), tokens_of(title, "title", 2), tokens_of(body, "body", 1002)]
    export(FOLDER / "columns.hgl", **weights_of(pipeline[-1]), fields=fields, dtype="f64")
    rows = frame.to_dict("records")
    case("columns", rows, pipeline.decision_function(frame), pipeline.predict_proba(frame)[:, 1], 1e-12)


main()
