#!/usr/bin/env python3
"""Writes a fitted scikit-learn forest as Headgate's JSON, `headgate-forest/1` (docs/FORMATS.md).

usage: python export_sklearn.py MODEL.pkl OUT.json

Copy this file next to your model: it needs numpy and what the model itself needs. `export(model)` gives the same as a dict.
Served: decision trees, random forests, extra trees, gradient boosting, histogram gradient boosting (classifiers and
regressors), isolation forests. The scores are the model's own, to the bit before the last transform.
"""

import json
import pickle
import sys

import numpy as np

FORMAT = "headgate-forest/1"
TREES = ("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor")
FORESTS = ("RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor")
BOOSTED = ("GradientBoostingClassifier", "GradientBoostingRegressor")
HISTOGRAM = ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")


class NotServed(ValueError):
    """A model that the format can't hold, and why."""


def export(model):
    """The model as the JSON's dict. Raises NotServed for a model of another kind."""
    name = type(model).__name__
    if name in TREES:
        parts = averaged([model], model, divide=False)
    elif name in FORESTS:
        parts = averaged(model.estimators_, model, divide=True)
    elif name in BOOSTED:
        parts = boosted(model)
    elif name in HISTOGRAM:
        parts = histogram(model)
    elif name == "IsolationForest":
        parts = isolation(model)
    else:
        raise NotServed(f"{name}: expected one of {', '.join(TREES + FORESTS + BOOSTED + HISTOGRAM)}, IsolationForest")
    import sklearn
    head = dict(format=FORMAT, library=f"scikit-learn {sklearn.__version__}", model=name, features=features(model))
    return head | parts


def features(model):
    names = getattr(model, "feature_names_in_", None)
    if names is None:
        return [{} for _ in range(model.n_features_in_)]
    return [dict(name=str(name)) for name in names]


def classes(model):
    return [plain(label) for label in model.classes_]


def plain(value):
    """A label or category as JSON has it."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def floats(array):
    array = np.asarray(array, dtype=np.float64).ravel()
    if not np.isfinite(array).all():
        raise NotServed("a leaf's value is not finite")
    return array.tolist()


def thresholds(array):
    """Of splits: infinity, over which nothing is, is null."""
    below_all = -1.7976931348623157e308
    return [None if t == np.inf else below_all if t == -np.inf else t for t in array.tolist()]


def tree(fitted, leaves, columns=None, margin=None, missing=True):
    """A `sklearn.tree._tree.Tree`; `leaves` has the values of a node in each row."""
    split = fitted.children_left != -1
    feature = fitted.feature if columns is None else np.asarray(columns)[np.maximum(fitted.feature, 0)]
    number = np.cumsum(~split) - 1
    out = dict(
        feature=np.where(split, feature, -1).tolist(),
        threshold=thresholds(np.where(split, fitted.threshold, 0.0)),
        left=np.where(split, fitted.children_left, number).tolist(),
        right=np.where(split, fitted.children_right, 0).tolist(),
        leaf=floats(np.asarray(leaves)[~split]),
        weight=floats(fitted.weighted_n_node_samples),
    )
    if missing and np.any(fitted.missing_go_to_left[split]):
        out["missing_left"] = (fitted.missing_go_to_left & split).astype(int).tolist()
    if margin is not None:
        out["margin"] = margin
    return out


def averaged(trees, model, divide):
    """Means of the trees' values: class probabilities, or predictions."""
    classifies = hasattr(model, "classes_")
    if classifies and model.n_outputs_ > 1:
        raise NotServed("a classifier of several outputs")
    width = int(model.n_classes_) if classifies else model.n_outputs_
    # Of a classifier one output with a value for each class, of a regressor a value for each output.
    values = lambda t: t.tree_.value[:, 0, :width] if classifies else t.tree_.value[:, :, 0]
    parts = dict(compare="f32", start=[0.0] * width, trees=[tree(t.tree_, values(t)) for t in trees])
    if divide:
        parts["divide_by"] = float(len(trees))
    if classifies:
        return parts | dict(output="multiclass", classes=classes(model))
    return parts | dict(output="regression")


def boosted(model):
    init = getattr(model, "init_", None)
    if init != "zero" and type(init).__name__ not in ("DummyClassifier", "DummyRegressor"):
        raise NotServed(f"`init={type(init).__name__}`: its scores depend on the row")
    start = model._raw_predict_init(np.zeros((1, model.n_features_in_), dtype=np.float32))[0]
    rate = float(model.learning_rate)
    trees = [
        tree(stage[k].tree_, rate * stage[k].tree_.value[:, 0, 0], margin=k, missing=False)
        for stage in model.estimators_
        for k in range(stage.shape[0])
    ]
    parts = dict(compare="f32", start=floats(start), trees=trees)
    if not hasattr(model, "classes_"):
        return parts | dict(output="regression")
    if len(start) > 1:
        return parts | dict(output="multiclass", transform="softmax", classes=classes(model))
    slope = 2.0 if model.loss == "exponential" else 1.0
    return parts | dict(output="binary", transform=dict(sigmoid=slope), classes=classes(model))


def histogram(model):
    columns, categories = histogram_columns(model)
    bitsets, row_of = model._bin_mapper.make_known_categories_bitsets()
    known = [codes_of(bits) for bits in bitsets]
    trees = [
        histogram_tree(predictor, columns, lambda feature: known[row_of[feature]], margin)
        for stage in model._predictors
        for margin, predictor in enumerate(stage)
    ]
    listed = features(model)
    for column, list_ in categories.items():
        listed[column]["categories"] = list_
    start = model._baseline_prediction
    if np.asarray(start).dtype != np.float64:
        raise NotServed(f"a baseline of {np.asarray(start).dtype}")
    parts = dict(compare="f64", start=floats(start), trees=trees, features=listed)
    if hasattr(model, "classes_"):
        if model.n_trees_per_iteration_ == 1:
            return parts | dict(output="binary", transform=dict(sigmoid=1.0), classes=classes(model))
        return parts | dict(output="multiclass", transform="softmax", classes=classes(model))
    transform = "exp" if model.loss in ("poisson", "gamma") else "identity"
    return parts | dict(output="regression", transform=transform)


def histogram_columns(model):
    """The model's own columns of the columns that its trees see, and the categories of those that have some."""
    count = model.n_features_in_
    if getattr(model, "_preprocessor", None) is None:
        return np.arange(count), {}
    categorical = np.flatnonzero(model.is_categorical_)
    # The encoder's columns come first.
    columns = np.concatenate([categorical, np.flatnonzero(~np.asarray(model.is_categorical_))])
    encoder = model._preprocessor.named_transformers_["encoder"]
    listed = {}
    for column, values in zip(categorical, encoder.categories_):
        missing = lambda v: v is None or v != v
        # A missing value is last, if it is there, and is encoded as missing.
        listed[int(column)] = [plain(v) for v in values if not missing(v)]
    return columns, listed


def codes_of(words):
    return [32 * i + bit for i, word in enumerate(words) for bit in range(32) if int(word) >> bit & 1]


def histogram_tree(predictor, columns, known, margin):
    nodes = predictor.nodes
    leaf = nodes["is_leaf"].astype(bool)
    sets = []
    for n in np.flatnonzero(~leaf & nodes["is_categorical"].astype(bool)):
        left = codes_of(predictor.raw_left_cat_bitsets[nodes["bitset_idx"][n]])
        # Categories that are not known go where missing values go: with those that no set names.
        if nodes["missing_go_to_left"][n]:
            rest = sorted(set(known(nodes["feature_idx"][n])) - set(left))
            sets.append(dict(node=int(n), codes=rest, left=False))
        else:
            sets.append(dict(node=int(n), codes=left, left=True))
    out = dict(
        margin=margin,
        feature=np.where(leaf, -1, columns[nodes["feature_idx"]]).tolist(),
        threshold=thresholds(np.where(leaf, 0.0, nodes["num_threshold"])),
        left=np.where(leaf, np.cumsum(leaf) - 1, nodes["left"].astype(np.int64)).tolist(),
        right=np.where(leaf, 0, nodes["right"].astype(np.int64)).tolist(),
        missing_left=(nodes["missing_go_to_left"].astype(bool) & ~leaf).astype(int).tolist(),
        leaf=floats(nodes["value"][leaf]),
        weight=floats(nodes["count"]),
    )
    return out | (dict(sets=sets) if sets else {})


def isolation(model):
    """Sums of depths; the output is `score_samples`."""
    depths, rest = model._decision_path_lengths, model._average_path_length_per_tree
    trees = [
        tree(t.tree_, d + r - 1.0, columns=columns)
        for t, columns, d, r in zip(model.estimators_, model.estimators_features_, depths, rest)
    ]
    from sklearn.ensemble._iforest import _average_path_length
    expected = len(model.estimators_) * _average_path_length([model._max_samples])
    return dict(
        compare="f32", output="score", transform=dict(isolation=float(expected[0])), start=[0.0], trees=trees
    )


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__.strip())
    try:
        import joblib
        model = joblib.load(sys.argv[1])
    except ImportError:
        with open(sys.argv[1], "rb") as f:
            model = pickle.load(f)
    with open(sys.argv[2], "w") as f:
        json.dump(export(model), f, allow_nan=False)


if __name__ == "__main__":
    main()
