"""Trains small models with LightGBM and XGBoost and writes what the libraries themselves score.

usage: differential.py FOLDER [SUBSTRING]

For each case (all, or those whose name has SUBSTRING) the folder gets NAME.model, NAME.x (rows of features, f64),
NAME.margins and NAME.outputs (f32 for XGBoost, else f64; little endian), and a line in cases.jsonl. Where that line has
"contributions": true, NAME.contributions has them (rows x margins x (columns + 1)); where false, the library has none.
Rows are also scored one by one, and must give the same bits. differential_catboost.py and differential_sklearn.py do the
same for those. The committed fixtures are `differential*.py FOLDER fixture`.
"""

import json
import pathlib
import sys

import lightgbm as lgb
import numpy as np
import pandas as pd
import xgboost as xgb

FOLDER = pathlib.Path(sys.argv[1])
ONLY = sys.argv[2] if len(sys.argv) > 2 else ""
ROWS = 600
XGB_VERSION = tuple(int(v) for v in xgb.__version__.split(".")[:2])
CASES = []


def main():
    lightgbm_objectives()
    lightgbm_missing()
    lightgbm_shapes()
    lightgbm_linear()
    lightgbm_pandas()
    xgboost_objectives()
    xgboost_boosters()
    xgboost_shapes()
    xgboost_categorical()
    fixtures()
    finish(f"lightgbm {lgb.__version__}, xgboost {xgb.__version__}")


def finish(libraries):
    with open(FOLDER / "cases.jsonl", "w") as f:
        f.writelines(json.dumps(case) + "\n" for case in CASES)
    print(f"{len(CASES)} cases, {libraries}")


def data(seed, columns=6, rows=ROWS, missing=0.0, zeros=0.0, categorical=()):
    """Features with some missing, some zero and some categorical columns, and a target that depends on them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, columns)) * rng.choice([0.01, 1, 100], size=columns)
    x[:, columns // 2] = np.round(x[:, columns // 2])
    x[rng.random(x.shape) < zeros] = 0.0
    for c in categorical:
        x[:, c] = rng.integers(0, 40, rows)
    signal = np.tanh(x[:, 0] / np.std(x[:, 0])) + (x[:, 1 % columns] > 0) * np.sign(x[:, columns - 1])
    for c in categorical:
        signal = signal + np.where(x[:, c] % 3 == 0, 1.5, -0.5)
    x[rng.random(x.shape) < missing] = np.nan
    return x, signal + rng.normal(size=rows) * 0.3, rng


def chain():
    """Features of which each tells one kind of row from all others: trees that are chains. Along so many features the
    libraries' contributions no longer add up to the margin, by far."""
    kinds = np.repeat(np.arange(70), 3)
    return np.eye(70)[kinds], np.sin(kinds * 7.0) + kinds / 50


def probes(x, thresholds, rng, rows, infinite=True):
    """Rows to score: those trained on, with values replaced by thresholds, their neighbours, and odd values."""
    x = np.array(x[:rows])
    odd = [np.nan, 0.0, -0.0, 1e-35, -1e-35, 5e-36, -5e-36, 1.0000000180025095e-35, 1e-30, 1e30, -1e30, -1.0, -0.5, 0.5,
           39.0, 40.0, 63.9, 64.0, 1e6, 16777215.0, 16777216.0, 2147483647.0, 2147483648.0, 4e9, -4e9, 3.5, 1e-310]
    odd += [np.inf, -np.inf] if infinite else []
    for value in odd:
        x[rng.integers(0, len(x), rows // 25), rng.integers(0, x.shape[1], rows // 25)] = value
    for column, threshold in thresholds:
        for value in (threshold, np.nextafter(threshold, np.inf), np.nextafter(threshold, -np.inf)):
            x[rng.integers(0, len(x)), column] = value
    x[0] = np.nan
    x[1] = 0.0
    return x


def write(name, form, model, x, margins, outputs, contributions=None):
    """`contributions`: an array; False where the library has none; None where it was not asked."""
    kind = np.float32 if form.startswith("xgboost") else np.float64
    assert margins.dtype == kind and outputs.dtype == kind, (name, margins.dtype, outputs.dtype)
    model.replace(FOLDER / f"{name}.model")
    x.astype("<f8").tofile(FOLDER / f"{name}.x")
    margins.astype(margins.dtype.newbyteorder("<")).tofile(FOLDER / f"{name}.margins")
    outputs.astype(outputs.dtype.newbyteorder("<")).tofile(FOLDER / f"{name}.outputs")
    width = lambda a: int(a.size // len(x))
    CASES.append(dict(name=name, format=form, rows=len(x), columns=x.shape[1], margins=width(margins), outputs=width(outputs)))
    if contributions is not None:
        CASES[-1]["contributions"] = contributions is not False
    if isinstance(contributions, np.ndarray):
        contributions.astype(contributions.dtype.newbyteorder("<")).tofile(FOLDER / f"{name}.contributions")


def same(name, a, b):
    assert np.array_equal(np.asarray(a).ravel(), np.asarray(b).ravel(), equal_nan=True), f"{name}: the library disagrees with itself"


# LightGBM

def lightgbm(name, x, y, params, rounds=12, rng=None, categorical=(), group=None, fobj=None, booster=None, probed=200, explained=True):
    if ONLY not in name:
        return
    rng = rng or np.random.default_rng(7)
    params = dict(verbose=-1, num_leaves=15, min_data_in_leaf=5, num_threads=2, seed=1) | params
    if booster is None:
        if fobj is not None:
            params["objective"] = fobj
        train = lgb.Dataset(x, y, categorical_feature=list(categorical), group=group, params=params)
        booster = lgb.train(params, train, rounds)
    path = FOLDER / "model.tmp"
    booster.save_model(path)
    booster = lgb.Booster(model_file=path)
    x = np.asarray(x, dtype=float)
    trees = booster.trees_to_dataframe() if booster.num_trees() and booster.dump_model()["tree_info"] else None
    thresholds = []
    if trees is not None and "threshold" in trees:
        names = booster.feature_name()
        for feature, threshold in zip(trees["split_feature"], trees["threshold"]):
            if isinstance(threshold, (int, float)) and feature is not None and np.isfinite(threshold):
                thresholds.append((names.index(feature), threshold))
    thresholds = [thresholds[i] for i in rng.permutation(len(thresholds))[:3 * probed // 2]]
    x = probes(x, thresholds, rng, probed)
    margins, outputs = booster.predict(x, raw_score=True), booster.predict(x)
    for r in range(0, len(x), 23):
        same(name, booster.predict(x[r:r + 1], raw_score=True), margins[r])
        same(name, booster.predict(x[r:r + 1]), outputs[r])
    write(name, "lightgbm-text", path, x, margins, outputs, lightgbm_contributions(booster, x) if explained else None)


def lightgbm_contributions(booster, x):
    try:
        return booster.predict(x, pred_contrib=True)
    except lgb.basic.LightGBMError as refused:
        assert "linear trees" in str(refused)
        # It goes by a parameter: a tree of one leaf is a constant all the same.
        return False if any(tree["num_leaves"] > 1 for tree in booster.dump_model()["tree_info"]) else None


def lightgbm_objectives():
    x, y, _ = data(1, missing=0.1)
    positive, label, classes = np.exp(y), (y > 0).astype(int), np.digitize(y, [-1, 0, 1])
    ranks, groups = np.clip(np.digitize(y, [-1, 0, 1]), 0, 3), [60] * (ROWS // 60)
    for objective in ("regression", "regression_l1", "huber", "fair", "quantile", "mape"):
        lightgbm(f"lgb-{objective}", x, y, dict(objective=objective))
    for objective in ("regression", "regression_l1", "fair", "quantile"):
        lightgbm(f"lgb-{objective}-sqrt", x, y * 10, dict(objective=objective, reg_sqrt=True))
    for objective in ("poisson", "gamma", "tweedie"):
        lightgbm(f"lgb-{objective}", x, positive, dict(objective=objective))
    lightgbm("lgb-binary", x, label, dict(objective="binary"))
    lightgbm("lgb-binary-slope", x, label, dict(objective="binary", sigmoid=0.7, boost_from_average=False))
    lightgbm("lgb-binary-unbalance", x, label, dict(objective="binary", is_unbalance=True, learning_rate=1.5), rounds=60)
    lightgbm("lgb-cross_entropy", x, 1 / (1 + positive), dict(objective="cross_entropy"))
    lightgbm("lgb-cross_entropy_lambda", x, 1 / (1 + positive), dict(objective="cross_entropy_lambda"))
    lightgbm("lgb-multiclass", x, classes, dict(objective="multiclass", num_class=4))
    lightgbm("lgb-multiclass-9", x, classes, dict(objective="multiclass", num_class=9))
    lightgbm("lgb-multiclassova", x, classes, dict(objective="multiclassova", num_class=4, sigmoid=1.3))
    lightgbm("lgb-lambdarank", x, ranks, dict(objective="lambdarank"), group=groups)
    lightgbm("lgb-rank_xendcg", x, ranks, dict(objective="rank_xendcg"), group=groups)
    lightgbm("lgb-custom", x, y, {}, fobj=lambda p, d: (p - d.get_label(), np.ones_like(p)))


def lightgbm_missing():
    for name, missing, zeros, params in (
        ("none", 0.0, 0.3, {}),
        ("nan", 0.2, 0.3, {}),
        ("zero", 0.1, 0.4, dict(zero_as_missing=True)),
        ("unused", 0.2, 0.3, dict(use_missing=False)),
    ):
        x, y, _ = data(2, missing=missing, zeros=zeros)
        lightgbm(f"lgb-missing-{name}", x, y, dict(objective="regression", **params), rounds=30)
        cats = (2, 4)
        x, y, _ = data(3, missing=missing, categorical=cats)
        few = dict(cat_smooth=1, min_data_per_group=2, max_cat_to_onehot=1)
        lightgbm(f"lgb-categorical-{name}", x, y, dict(objective="regression", **few, **params), categorical=cats)
        lightgbm(f"lgb-onehot-{name}", x, y, dict(objective="regression", max_cat_to_onehot=64, cat_smooth=1, **params), categorical=cats)
    x, y, rng = data(4, categorical=(0,))
    x[:, 0] = rng.choice([0, 31, 32, 33, 1000, 50_000], ROWS)
    y = y + (x[:, 0] == 50_000) * 3
    lightgbm("lgb-categorical-sparse-codes", x, y, dict(objective="regression", min_data_per_group=2, cat_smooth=1), categorical=(0,))


def lightgbm_shapes():
    x, y, _ = data(5, missing=0.05)
    label = (y > 0).astype(int)
    lightgbm("lgb-one-leaf", x, y, dict(objective="regression", min_data_in_leaf=10_000), rounds=3)
    lightgbm("lgb-one-leaf-multiclass", x, label, dict(objective="multiclass", num_class=3, min_data_in_leaf=10_000), rounds=3)
    lightgbm("lgb-stumps", x, label, dict(objective="binary", num_leaves=2), rounds=40)
    lightgbm("lgb-one-column", x[:, :1], y, dict(objective="regression"))
    lightgbm("lgb-many-trees", x, label, dict(objective="binary", num_leaves=4, learning_rate=0.02), rounds=1500)
    big, target, _ = data(6, columns=4, rows=5000)
    lightgbm("lgb-deep", np.sort(big, axis=0), np.exp(np.arange(5000) / 300), dict(objective="regression", num_leaves=2000, min_data_in_leaf=1, min_sum_hessian_in_leaf=0, max_bin=5000), rounds=4)
    lightgbm("lgb-leaves", big, target, dict(objective="regression", num_leaves=4000, min_data_in_leaf=1), rounds=5)
    wide, target, _ = data(7, columns=500, missing=0.3)
    lightgbm("lgb-wide", wide, target, dict(objective="regression", feature_fraction=0.2), rounds=60)
    wider, target, _ = data(11, columns=5000, rows=200, missing=0.1)
    lightgbm("lgb-5000-features", wider, target, dict(objective="regression", feature_fraction=0.05), rounds=40, probed=60)
    lightgbm("lgb-3000-trees", x, label, dict(objective="binary", num_leaves=8, learning_rate=0.01), rounds=3000, probed=60)
    grown = dict(min_data_in_leaf=1, min_sum_hessian_in_leaf=0, max_bin=5000, min_data_in_bin=1)
    lightgbm("lgb-depth-60", *chain(), dict(objective="regression", num_leaves=90, **grown), rounds=3, explained=False)
    lightgbm("lgb-5000-bins", big, big[:, 0] + np.sin(big[:, 1]), dict(objective="regression", num_leaves=63, **grown), rounds=100)
    lightgbm("lgb-constant-columns", np.column_stack([x, np.ones(ROWS), np.full(ROWS, np.nan)]), y, dict(objective="regression"))
    for boosting in ("rf", "dart", "goss"):
        bag = dict(bagging_fraction=0.5, bagging_freq=1) if boosting == "rf" else {}
        lightgbm(f"lgb-{boosting}", x, y, dict(objective="regression", boosting=boosting, **bag), rounds=25)
        lightgbm(f"lgb-{boosting}-binary", x, label, dict(objective="binary", boosting=boosting, **bag), rounds=25)
    rf = dict(boosting="rf", bagging_fraction=0.5, bagging_freq=1)
    lightgbm("lgb-rf-multiclass", x, np.digitize(y, [-1, 1]), dict(objective="multiclass", num_class=3, **rf))


def lightgbm_linear():
    x, y, _ = data(8, missing=0.05)
    for name, missing in (("none", 0.0), ("nan", 0.1)):
        x, y, _ = data(8, missing=missing)
        lightgbm(f"lgb-linear-{name}", x, y, dict(objective="regression", linear_tree=True, linear_lambda=0.01))
    lightgbm("lgb-linear-binary", x, (y > 0).astype(int), dict(objective="binary", linear_tree=True))
    lightgbm("lgb-linear-one-leaf", x, y, dict(objective="regression", linear_tree=True, min_data_in_leaf=10_000), rounds=3)
    x, y, _ = data(9, categorical=(1,))
    lightgbm("lgb-linear-categorical", x, y, dict(objective="regression", linear_tree=True), categorical=(1,))


def lightgbm_pandas():
    x, y, rng = data(10, columns=4, missing=0.1)
    frame = pd.DataFrame(x, columns=["a b", "é", "c", "d"])
    frame["job"] = pd.Categorical(rng.choice(["admin.", "São Paulo", "self\nemployed", "x,y]"], ROWS))
    frame["grade"] = pd.Categorical(rng.choice([5, 7, 11], ROWS))
    frame["member"] = rng.random(ROWS) < 0.5
    y = y + (frame["job"] == "admin.") * 2 - (frame["grade"] == 7)
    codes = frame.copy()
    for column in ("job", "grade"):
        codes[column] = frame[column].cat.codes.replace(-1, np.nan)
    model = lgb.LGBMClassifier(n_estimators=15, num_leaves=8, min_child_samples=5, verbose=-1).fit(frame, y > 0)
    lightgbm("lgb-pandas", codes.astype(float).to_numpy(), None, {}, booster=model.booster_)
    model = lgb.LGBMRegressor(n_estimators=15, num_leaves=8, min_child_samples=5, verbose=-1).fit(frame, y)
    lightgbm("lgb-pandas-regressor", codes.astype(float).to_numpy(), None, {}, booster=model.booster_)


# XGBoost

def xgboost(name, x, y, params, rounds=12, types=None, rng=None, since=(1, 0), probed=200, explained=True, **matrix):
    if ONLY not in name:
        return
    if XGB_VERSION < since:
        print(f"left out: {name}, new in xgboost {since}")
        return
    rng = rng or np.random.default_rng(7)
    params = dict(max_depth=4, eta=0.3, nthread=2, seed=1, verbosity=0) | params
    data = dict(feature_types=types, enable_categorical=types is not None)
    booster = xgb.train(params, xgb.DMatrix(x, y, **data, **matrix), rounds)
    thresholds = []
    if params.get("booster") != "gblinear":
        trees = json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]
        trees = trees.get("gbtree", trees)["model"]["trees"]
        for tree in trees:
            splits = zip(tree["left_children"], tree["split_indices"], tree["split_conditions"])
            thresholds += [(f, float(np.float32(c))) for left, f, c in splits if left != -1 and c is not None and np.isfinite(c)]
    thresholds = [thresholds[i] for i in rng.permutation(len(thresholds))[:3 * probed // 2]]
    x = probes(x, thresholds, rng, probed, infinite=False)
    with np.errstate(over="ignore"):
        x[np.isinf(x.astype(np.float32))] = 1.0
    if types is not None:
        # Negative and too large codes are refused by the library's data matrix.
        for column, kind in enumerate(types):
            if kind == "c":
                x[~(np.isnan(x[:, column]) | ((x[:, column] >= 0) & (x[:, column] < 16777216))), column] = 3.0
    for form, suffix in (("xgboost-json", "json"), ("xgboost-ubj", "ubj")):
        path = FOLDER / f"model.{suffix}"
        booster.save_model(path)
        loaded = xgb.Booster(model_file=path)
        score = lambda rows, margin: loaded.predict(xgb.DMatrix(rows, **data), output_margin=margin)
        margins, outputs = score(x, True), score(x, False)
        for r in range(0, len(x), 23):
            same(name, score(x[r:r + 1], True), margins[r])
            same(name, score(x[r:r + 1], False), outputs[r])
        # Of leaves with a value for each target XGBoost gives none.
        vectors = params.get("multi_strategy") == "multi_output_tree"
        contributions = None if vectors or not explained else loaded.predict(xgb.DMatrix(x, **data), pred_contribs=True)
        write(f"{name}-{suffix}", form, path, x, margins, outputs, contributions)


def xgboost_objectives():
    x, y, rng = data(21, missing=0.1)
    positive, label, classes = np.exp(y), (y > 0).astype(int), np.digitize(y, [-1, 0, 1])
    for objective in ("reg:squarederror", "reg:pseudohubererror", "reg:absoluteerror"):
        xgboost(f"xgb-{objective.split(':')[1]}", x, y, dict(objective=objective))
    for objective in ("reg:squaredlogerror", "count:poisson", "reg:gamma", "reg:tweedie"):
        xgboost(f"xgb-{objective.split(':')[1]}", x, positive, dict(objective=objective))
        xgboost(f"xgb-{objective.split(':')[1]}-base", x, positive, dict(objective=objective, base_score=0.37))
    xgboost("xgb-quantileerror", x, y, dict(objective="reg:quantileerror", quantile_alpha=0.3), since=(2, 0))
    xgboost("xgb-quantiles", x, y, dict(objective="reg:quantileerror", quantile_alpha=[0.1, 0.5, 0.9]), since=(2, 0))
    xgboost("xgb-cox", x, y * 5, dict(objective="survival:cox"))
    xgboost("xgb-aft", x, None, dict(objective="survival:aft"), label_lower_bound=positive, label_upper_bound=positive)
    for base in (None, 0.5, 0.2, 0.937, 1e-9):
        given = {} if base is None else dict(base_score=base)
        xgboost(f"xgb-logistic-{base}", x, label, dict(objective="binary:logistic", **given))
    xgboost("xgb-reg-logistic", x, 1 / (1 + positive), dict(objective="reg:logistic"))
    xgboost("xgb-logitraw", x, label, dict(objective="binary:logitraw", base_score=0.3))
    xgboost("xgb-hinge", x, label, dict(objective="binary:hinge"))
    xgboost("xgb-saturated", x, label, dict(objective="binary:logistic", reg_lambda=0, eta=20, min_child_weight=0), rounds=30)
    for objective in ("softmax", "softprob"):
        xgboost(f"xgb-{objective}", x, classes, dict(objective=f"multi:{objective}", num_class=4))
        xgboost(f"xgb-{objective}-base", x, classes, dict(objective=f"multi:{objective}", num_class=4, base_score=0.7))
    group = [60] * (ROWS // 60)
    for objective in ("pairwise", "ndcg", "map"):
        ranks = label if objective == "map" else classes
        xgboost(f"xgb-rank-{objective}", x, ranks, dict(objective=f"rank:{objective}"), group=group)
    targets = np.column_stack([y, -y, y * y])
    xgboost("xgb-targets", x, targets, dict(objective="reg:squarederror"), since=(1, 6))
    xgboost("xgb-labels", x, (targets > 0).astype(int), dict(objective="binary:logistic"), since=(1, 6))
    vectors = dict(multi_strategy="multi_output_tree", tree_method="hist")
    xgboost("xgb-vectors", x, targets, dict(objective="reg:squarederror", **vectors), since=(2, 0))
    xgboost("xgb-vectors-labels", x, (targets > 0.2).astype(int), dict(objective="binary:logistic", **vectors), since=(2, 0))
    xgboost("xgb-vectors-classes", x, classes, dict(objective="multi:softprob", num_class=4, **vectors), since=(2, 0))
    xgboost("xgb-vectors-deep", x, targets, dict(objective="reg:squarederror", max_depth=9, subsample=0.5, **vectors), rounds=25, since=(2, 0))
    xgboost("xgb-vectors-one-leaf", x, targets, dict(objective="reg:squarederror", gamma=1e9, **vectors), rounds=3, since=(2, 0))


def xgboost_boosters():
    x, y, _ = data(22, missing=0.1)
    label, classes = (y > 0).astype(int), np.digitize(y, [-1, 1])
    dart = dict(booster="dart", rate_drop=0.4, one_drop=1)
    xgboost("xgb-dart", x, y + 10, dict(objective="reg:squarederror", **dart), rounds=30)
    xgboost("xgb-dart-forest", x, y, dict(objective="reg:squarederror", normalize_type="forest", base_score=0.37, **dart), rounds=30)
    xgboost("xgb-dart-softprob", x, classes, dict(objective="multi:softprob", num_class=3, **dart), rounds=15)
    xgboost("xgb-gblinear", np.nan_to_num(x), y, dict(objective="reg:squarederror", booster="gblinear"))
    xgboost("xgb-gblinear-logistic", x, label, dict(objective="binary:logistic", booster="gblinear", base_score=0.3))
    xgboost("xgb-gblinear-softprob", x, classes, dict(objective="multi:softprob", num_class=3, booster="gblinear"))
    xgboost("xgb-parallel", x, label, dict(objective="binary:logistic", num_parallel_tree=5, subsample=0.6), rounds=4)
    xgboost("xgb-parallel-softprob", x, classes, dict(objective="multi:softprob", num_class=3, num_parallel_tree=3, subsample=0.6), rounds=4)


def xgboost_shapes():
    x, y, rng = data(23, missing=0.05)
    label = (y > 0).astype(int)
    for method in ("exact", "approx", "hist"):
        xgboost(f"xgb-{method}", x, y, dict(objective="reg:squarederror", tree_method=method, gamma=0.5))
    xgboost("xgb-one-leaf", x, y, dict(objective="reg:squarederror", gamma=1e9), rounds=3)
    xgboost("xgb-stumps", x, label, dict(objective="binary:logistic", max_depth=1), rounds=40)
    xgboost("xgb-many-trees", x, label, dict(objective="binary:logistic", subsample=0.5), rounds=800)
    grow = dict(tree_method="hist", grow_policy="lossguide", max_leaves=500, max_depth=0, min_child_weight=0)
    big, target, _ = data(24, columns=4, rows=5000)
    xgboost("xgb-deep", np.sort(big, axis=0), np.exp(np.arange(5000) / 300), dict(objective="reg:squarederror", **grow), rounds=4)
    wide, target, _ = data(25, columns=500, missing=0.3)
    xgboost("xgb-wide", wide, target, dict(objective="reg:squarederror", colsample_bytree=0.2), rounds=40)
    wider, target, _ = data(27, columns=5000, rows=200, missing=0.1)
    xgboost("xgb-5000-features", wider, target, dict(objective="reg:squarederror", colsample_bytree=0.05), rounds=40, probed=60)
    xgboost("xgb-3000-trees", x, label, dict(objective="binary:logistic", max_depth=3, eta=0.01), rounds=3000, probed=60)
    grown = dict(objective="reg:squarederror", tree_method="hist", max_bin=5000, min_child_weight=0)
    xgboost("xgb-depth-60", *chain(), dict(max_depth=70, reg_lambda=0, **grown), rounds=3, explained=False)
    xgboost("xgb-5000-bins", big, big[:, 0] + np.sin(big[:, 1]), dict(max_depth=6, **grown), rounds=100)
    sparse = np.where(rng.random(x.shape) < 0.9, np.nan, x)
    xgboost("xgb-sparse", sparse, y, dict(objective="reg:squarederror"))


def xgboost_categorical():
    cats = (2, 4)
    types = ["c" if c in cats else "float" for c in range(6)]
    for name, missing in (("none", 0.0), ("nan", 0.2)):
        x, y, _ = data(26, missing=missing, categorical=cats)
        for kind, most in (("onehot", 64), ("partition", 1)):
            params = dict(tree_method="hist", max_cat_to_onehot=most)
            xgboost(f"xgb-categorical-{kind}-{name}", x, y, dict(objective="reg:squarederror", **params), types=types)
            xgboost(f"xgb-categorical-{kind}-{name}-dart", x, (y > 0).astype(int), dict(objective="binary:logistic", booster="dart", rate_drop=0.3, **params), types=types)


def fixtures():
    """Tiny models of each format, committed."""
    x, y, rng = data(31, columns=4, missing=0.1, zeros=0.1, rows=300)
    frame = pd.DataFrame(x, columns=["age", "a b", "é", "d"])
    frame["job"] = pd.Categorical(rng.choice(["admin.", "São Paulo", "x,y]"], 300))
    frame["grade"] = pd.Categorical(rng.choice([5, 7, 11], 300))
    y = y + (frame["job"] == "admin.") * 2 - (frame["grade"] == 7)
    model = lgb.LGBMClassifier(n_estimators=4, num_leaves=6, min_child_samples=5, verbose=-1).fit(frame, y > 0)
    for column in ("job", "grade"):
        frame[column] = frame[column].cat.codes.replace(-1, np.nan)
    lightgbm("fixture-lgb-pandas", frame.astype(float).to_numpy(), None, {}, booster=model.booster_, probed=25)
    classes = np.digitize(y, [-1, 1])
    lightgbm("fixture-lgb-multiclass", x, classes, dict(objective="multiclass", num_class=3, zero_as_missing=True, num_leaves=5), rounds=2, probed=25)
    major = XGB_VERSION[0]
    x, y, _ = data(32, columns=4, missing=0.1, categorical=(2,), rows=300)
    types = ["float", "float", "c", "float"]
    params = dict(objective="binary:logistic", tree_method="hist", max_depth=3, max_cat_to_onehot=1)
    xgboost(f"fixture-xgb{major}-logistic", x, (y > 0).astype(int), params, rounds=3, types=types, probed=25)
    params = dict(objective="multi:softprob", num_class=3, booster="dart", rate_drop=0.5, max_depth=2)
    xgboost(f"fixture-xgb{major}-dart", x, np.digitize(y, [-1, 1]), params, rounds=3, probed=25)
    params = dict(objective="reg:squarederror", multi_strategy="multi_output_tree", tree_method="hist", max_depth=2)
    xgboost(f"fixture-xgb{major}-vectors", x, np.column_stack([y, -y]), params, rounds=2, probed=25, since=(2, 0))


if __name__ == "__main__":
    main()
