"""Trains small models with scikit-learn and writes what it scores itself: as differential.py, which says how. The models
are written by trainer/python/export_sklearn.py."""

import json
import os
import pathlib
import sys

# Small rows on many threads are slow: they spin.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import sklearn
from sklearn import ensemble as en
from sklearn import tree as tr

import differential
from differential import FOLDER, ONLY, chain, data, probes, same, write

sys.path.insert(0, str(pathlib.Path(__file__).parents[4] / "trainer/python"))
from export_sklearn import NotServed, export


def main():
    averaged()
    boosted()
    histogram()
    categories()
    isolation()
    shapes()
    fixtures()
    refused()
    differential.finish(f"scikit-learn {sklearn.__version__}")


def scores(model, rows):
    """Margins and outputs, by the model's own methods."""
    name, classifies = type(model).__name__, hasattr(model, "classes_")
    if name == "IsolationForest":
        # Sums of depths, which it does not give: as `_compute_score_samples` adds them up.
        depths = np.zeros(len(rows))
        per_tree = zip(model.estimators_, model.estimators_features_, model._decision_path_lengths, model._average_path_length_per_tree)
        for tree, columns, lengths, rest in per_tree:
            leaves = tree.apply(np.asarray(rows, dtype=np.float32)[:, columns])
            depths += lengths[leaves] + rest[leaves] - 1.0
        return depths, model.score_samples(rows)
    outputs = model.predict_proba(rows) if classifies else model.predict(rows)
    if "Boosting" in name:
        margins = model._raw_predict(rows if "Hist" in name else np.asarray(rows, dtype=np.float32))
        return margins, outputs[:, 1] if classifies and margins.shape[1] == 1 else outputs
    if "Tree" in name and "Trees" not in name:
        return outputs, outputs
    # Before the division, which scikit-learn does in place.
    sums = np.zeros_like(outputs)
    for tree in model.estimators_:
        of_tree = tree.predict_proba(rows) if classifies else tree.predict(rows)
        sums += of_tree
    assert np.array_equal(sums / len(model.estimators_), outputs), name
    return sums, outputs


def sklearn_case(name, model, x, probed=200, infinite=False, rows=None):
    """`rows`: what the model takes, and what Headgate takes of it, where that is another."""
    if ONLY not in name:
        return
    rng = np.random.default_rng(7)
    document = export(model)
    path = FOLDER / "model.tmp"
    path.write_text(json.dumps(document, allow_nan=False))
    if rows is None:
        thresholds = [
            (feature, threshold)
            for tree in document["trees"]
            for feature, threshold in zip(tree["feature"], tree["threshold"])
            if feature >= 0 and threshold is not None and abs(threshold) < 1e300
        ]
        near = [(f, float(np.nextafter(np.float32(t), np.float32(side)))) for f, t in thresholds for side in (-9e9, 9e9)]
        thresholds += near if document["compare"] == "f32" else []
        thresholds = [thresholds[i] for i in rng.permutation(len(thresholds))[:2 * probed]]
        x = probes(x, thresholds, rng, probed, infinite)
        with np.errstate(over="ignore"):
            if document["compare"] == "f32":
                x[np.isinf(x.astype(np.float32))] = 1.0
        if not takes_missing(model):
            x = np.nan_to_num(x, nan=0.3)
        takes, given = x, x
    else:
        takes, given = rows
    margins, outputs = scores(model, takes)
    for r in range(0, len(given), 23):
        alone = scores(model, takes[r:r + 1])
        same(name, alone[0], margins[r])
        same(name, alone[1], outputs[r])
    write(name, "forest-json", path, np.asarray(given, dtype=float), np.asarray(margins), np.asarray(outputs))


def takes_missing(model):
    return model.__sklearn_tags__().input_tags.allow_nan


def averaged():
    x, y, _ = data(61, missing=0.1)
    filled = np.nan_to_num(x)
    label, classes = (y > 0).astype(int), np.digitize(y, [-1, 0, 1])
    targets = np.column_stack([y, -y, y * y])
    for missing, rows in (("", filled), ("-nan", x)):
        many = dict(n_estimators=25, random_state=1, max_depth=9, n_jobs=1)
        for kind in ("RandomForest", "ExtraTrees"):
            regressor, classifier = getattr(en, f"{kind}Regressor"), getattr(en, f"{kind}Classifier")
            short = f"skl-{kind.lower()}{missing}"
            sklearn_case(f"{short}", regressor(**many).fit(rows, y), rows)
            sklearn_case(f"{short}-targets", regressor(**many).fit(rows, targets), rows)
            sklearn_case(f"{short}-binary", classifier(**many).fit(rows, label), rows)
            sklearn_case(f"{short}-classes", classifier(**many).fit(rows, np.array(list("abcd"))[classes]), rows)
            weighted = classifier(**many, class_weight="balanced", min_samples_leaf=4).fit(rows, classes, np.linspace(0.1, 3, len(rows)))
            sklearn_case(f"{short}-weighted", weighted, rows)
        for kind in ("DecisionTree", "ExtraTree"):
            short = f"skl-{kind.lower()}{missing}"
            sklearn_case(f"{short}", getattr(tr, f"{kind}Regressor")(random_state=1).fit(rows, y), rows)
            sklearn_case(f"{short}-classes", getattr(tr, f"{kind}Classifier")(random_state=1).fit(rows, classes), rows)
    for criterion in ("absolute_error", "friedman_mse", "poisson"):
        forest = en.RandomForestRegressor(n_estimators=5, criterion=criterion, random_state=1, max_depth=5)
        sklearn_case(f"skl-randomforest-{criterion}", forest.fit(filled, np.exp(y)), filled)
    bounded = en.RandomForestRegressor(n_estimators=5, monotonic_cst=[1, 0, 0, -1, 0, 0], random_state=1).fit(filled, y)
    sklearn_case("skl-randomforest-monotonic", bounded, filled)


def boosted():
    x, y, _ = data(62)
    label, classes = (y > 0).astype(int), np.digitize(y, [-1, 0, 1])
    many = dict(n_estimators=30, random_state=1)
    for loss in ("squared_error", "absolute_error", "huber", "quantile"):
        sklearn_case(f"skl-gb-{loss}", en.GradientBoostingRegressor(loss=loss, **many).fit(x, y), x)
    sklearn_case("skl-gb-zero", en.GradientBoostingRegressor(init="zero", subsample=0.5, **many).fit(x, y + 5), x)
    for loss in ("log_loss", "exponential"):
        sklearn_case(f"skl-gb-{loss}", en.GradientBoostingClassifier(loss=loss, **many).fit(x, label), x)
    sklearn_case("skl-gb-classes", en.GradientBoostingClassifier(**many).fit(x, classes), x)
    sklearn_case("skl-gb-stopped", en.GradientBoostingClassifier(n_iter_no_change=2, **many).fit(x, classes), x)


def histogram():
    for missing, share in (("", 0.0), ("-nan", 0.2)):
        x, y, _ = data(63, missing=share, zeros=0.2)
        label, classes = (y > 0).astype(int), np.digitize(y, [-1, 0, 1])
        many = dict(max_iter=30, random_state=1, min_samples_leaf=5, early_stopping=False)
        for loss, target in (("squared_error", y), ("absolute_error", y), ("quantile", y), ("poisson", np.exp(y)), ("gamma", np.exp(y))):
            more = dict(quantile=0.3) if loss == "quantile" else {}
            model = en.HistGradientBoostingRegressor(loss=loss, **more, **many).fit(x, target)
            sklearn_case(f"skl-hist-{loss}{missing}", model, x, infinite=True)
        classifier = en.HistGradientBoostingClassifier
        sklearn_case(f"skl-hist-binary{missing}", classifier(**many).fit(x, label), x, infinite=True)
        sklearn_case(f"skl-hist-classes{missing}", classifier(**many).fit(x, classes), x, infinite=True)
    # Thresholds within what LightGBM takes for zero.
    x, y, _ = data(64)
    tiny = en.HistGradientBoostingRegressor(max_iter=10, random_state=1).fit(x * 1e-36, y)
    sklearn_case("skl-hist-tiny", tiny, x * 1e-36, infinite=True)
    only = np.where(x[:, :2] > 0, np.nan, 1.0)
    missing_only = en.HistGradientBoostingRegressor(max_iter=5, random_state=1).fit(only, y)
    sklearn_case("skl-hist-missing-only", missing_only, only, infinite=True)


def categories():
    x, y, rng = data(65, missing=0.1, categorical=(1, 4))
    texts = np.array([f"t{i}" for i in range(38)] + ["São Paulo", ""], dtype=object)
    frame = pd.DataFrame(x, columns=list("abcdef"))
    for column in "be":
        known = frame[column].notna()
        frame[column] = pd.Categorical(np.where(known, texts[frame[column].fillna(0).astype(int)], None), categories=texts[::-1])
    # Some categories have no rows in training, or only few.
    train = ~frame["b"].isin(["t3", "t7"]).to_numpy() & ~frame["e"].isin(["t9"]).to_numpy()
    for name, estimator, target in (
        ("", en.HistGradientBoostingRegressor, y),
        ("-classes", en.HistGradientBoostingClassifier, np.digitize(y, [-1, 1])),
    ):
        model = estimator(max_iter=25, random_state=1, min_samples_leaf=5, categorical_features="from_dtype")
        model.fit(frame[train], target[train])
        document = export(model)
        given = np.array(x)
        for c in (1, 4):
            listed = document["features"][c]["categories"]
            code = {text: i for i, text in enumerate(listed)}
            given[:, c] = [code.get(text, np.nan) if isinstance(text, str) else np.nan for text in frame.iloc[:, c]]
        sklearn_case(f"skl-hist-categories{name}", model, x, rows=(frame, given))
    # Numbers as categories.
    coded = np.nan_to_num(x, nan=2.0)
    model = en.HistGradientBoostingRegressor(max_iter=25, random_state=1, categorical_features=[1, 4]).fit(coded[:400], y[:400])
    document = export(model)
    given = np.array(coded)
    for c in (1, 4):
        code = {value: i for i, value in enumerate(document["features"][c]["categories"])}
        given[:, c] = [code.get(value, np.nan) for value in coded[:, c]]
    sklearn_case("skl-hist-numbers", model, coded, rows=(coded, given))


def isolation():
    x, _, _ = data(66)
    sklearn_case("skl-isolation", en.IsolationForest(n_estimators=30, random_state=1).fit(x), x)
    subset = en.IsolationForest(n_estimators=10, max_features=0.5, max_samples=50, random_state=1, contamination=0.1)
    sklearn_case("skl-isolation-subset", subset.fit(x), x)
    sklearn_case("skl-isolation-one", en.IsolationForest(n_estimators=3, max_samples=1, random_state=1).fit(x), x)


def shapes():
    x, y, _ = data(67)
    sklearn_case("skl-one-leaf", en.RandomForestRegressor(n_estimators=3, max_depth=1, min_samples_leaf=10_000, random_state=1).fit(x, y), x)
    sklearn_case("skl-one-column", en.RandomForestRegressor(n_estimators=3, random_state=1).fit(x[:, :1], y), x[:, :1])
    big, target, _ = data(68, columns=4, rows=5000)
    kinds, target_of = chain()
    sklearn_case("skl-deep", tr.DecisionTreeRegressor(random_state=1).fit(kinds, target_of), kinds)
    sklearn_case("skl-leaves", en.ExtraTreesRegressor(n_estimators=4, random_state=1).fit(big, target), big)
    wide, target, _ = data(69, columns=5000, rows=200)
    sklearn_case("skl-wide", en.RandomForestRegressor(n_estimators=20, random_state=1).fit(wide, target), wide)
    small = en.GradientBoostingClassifier(n_estimators=3000, max_depth=2, random_state=1, subsample=0.5)
    sklearn_case("skl-many-trees", small.fit(x[:200], y[:200] > 0), x)


def fixtures():
    """Tiny models, committed."""
    x, y, rng = data(71, columns=4, missing=0.1, rows=300)
    forest = en.RandomForestClassifier(n_estimators=3, max_depth=3, random_state=1)
    sklearn_case("fixture-skl-forest", forest.fit(x, np.array(["no", "yes", "São"])[np.digitize(y, [-1, 1])]), x, probed=25)
    frame = pd.DataFrame(x, columns=["age", "a b", "é", "d"])
    texts = np.array(["admin.", "São Paulo", "x,y]"], dtype=object)
    codes = rng.integers(0, 3, 300)
    frame["job"] = pd.Categorical(texts[codes], categories=texts)
    model = en.HistGradientBoostingClassifier(max_iter=4, max_leaf_nodes=5, min_samples_leaf=5, categorical_features="from_dtype")
    model.fit(frame, y + 2 * (codes == 1) > 0)
    listed = export(model)["features"][4]["categories"]
    given = np.column_stack([x, [listed.index(texts[code]) for code in codes]])[:25]
    sklearn_case("fixture-skl-hist", model, x, rows=(frame[:25], given))


def refused():
    """What the format can't hold is told by name."""
    from sklearn.linear_model import LinearRegression
    x, y, _ = data(70)
    own = en.GradientBoostingRegressor(init=LinearRegression(), n_estimators=2).fit(x, y)
    several = en.RandomForestClassifier(n_estimators=2).fit(x, np.column_stack([y > 0, y > 1]))
    for model, words in ((own, "init=LinearRegression"), (several, "several outputs"), (LinearRegression().fit(x, y), "LinearRegression")):
        try:
            export(model)
            raise AssertionError(f"exported: {words}")
        except NotServed as error:
            assert words in str(error), error


if __name__ == "__main__":
    main()
