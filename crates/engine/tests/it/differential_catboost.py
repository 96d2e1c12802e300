"""Trains small models with CatBoost and writes what it scores itself: as differential.py, which says how.

The measure is the model that was saved, not the one that CatBoost reads back: its reader of JSON rounds numbers wrongly.
Where CatBoost goes through its approximate `exp`, the outputs are those of a correct one, and CatBoost's are near them.
"""

import json

import catboost as cb
import numpy as np
import pandas as pd

import differential
from differential import FOLDER, ONLY, data, probes, same, write


def main():
    losses()
    classes()
    missing()
    shapes()
    policies()
    categories()
    fixtures()
    differential.finish(f"catboost {cb.__version__}")


def train(x, y, params, **pool):
    params = dict(iterations=12, depth=4, thread_count=2, random_seed=1, verbose=0, allow_writing_files=False) | params
    return cb.CatBoost(params).fit(cb.Pool(x, y, **pool))


def ulps(a, b):
    return np.abs(a.view(np.int64) - b.view(np.int64)).max()


def outputs_of(name, model, rows, margins):
    """As `predict` and `predict_proba` of CatBoost's scikit-learn classes give."""
    loss = (model.get_all_params() if model.get_params() else {}).get("loss_function", "").split(":")[0]
    predict = lambda kind: np.asarray(model.predict(rows, prediction_type=kind), dtype=np.float64)
    if loss in ("Logloss", "CrossEntropy", "Focal"):
        return np.ascontiguousarray(predict("Probability")[:, 1])
    if loss in ("MultiClassOneVsAll", "MultiLogloss", "MultiCrossEntropy"):
        return predict("Probability")
    with np.errstate(over="ignore"):
        if loss == "MultiClass":
            theirs, power = predict("Probability"), np.exp(margins - margins.max(axis=1, keepdims=True))
            ours = power / np.add.accumulate(power, axis=1)[:, -1:]
        elif loss in ("Poisson", "Tweedie"):
            theirs, ours = predict("Exponent"), np.exp(margins)
        elif loss == "RMSEWithUncertainty":
            theirs, ours = predict("RMSEWithUncertainty"), np.column_stack([margins[:, 0], np.exp(2 * margins[:, 1])])
        else:
            return margins
    assert ulps(theirs, ours) < 64, f"{name}: {ulps(theirs, ours)} units in the last place"
    return ours


def catboost(name, x, y, params, probed=200, rows=None, group=None, scale=None, model=None):
    """`rows` makes of a matrix of numbers what CatBoost takes, and of a saved model the matrix that Headgate takes."""
    if ONLY not in name:
        return
    rng = np.random.default_rng(7)
    takes, codes = rows or (lambda x: x, lambda x, _: x)
    cats = [c for c in range(x.shape[1]) if isinstance(takes(x[:1]), pd.DataFrame) and takes(x[:1]).dtypes.iloc[c] == object]
    if model is None:
        model = train(takes(x), y, params, cat_features=cats or None, group_id=group)
    if scale is not None:
        model.set_scale_and_bias(*scale)
    path = FOLDER / "model.tmp"
    pool = cb.Pool(takes(x), cat_features=cats) if cats else None
    model.save_model(str(path), format="json", pool=pool)
    document = json.loads(path.read_text())
    thresholds = [
        (f["flat_feature_index"], border) for f in document["features_info"]["float_features"] for border in f["borders"]
    ]
    if not cats:
        # Between an f32 and the next one a value is rounded to the nearer.
        thresholds += [(c, float(np.nextafter(np.float32(b), np.float32(side)))) for c, b in thresholds for side in (-9e9, 9e9)]
    thresholds = [thresholds[i] for i in rng.permutation(len(thresholds))[:2 * probed]]
    numeric = np.delete(np.arange(x.shape[1]), cats)
    probed_x = probes(x[:, numeric], [(int(np.where(numeric == c)[0][0]), t) for c, t in thresholds], rng, probed)
    x = np.array(x[:probed])
    x[:, numeric] = probed_x
    pools = lambda rows: cb.Pool(takes(rows), cat_features=cats or None)
    score = lambda rows: np.asarray(model.predict(pools(rows), prediction_type="RawFormulaVal"), dtype=np.float64)
    margins = score(x)
    outputs = outputs_of(name, model, pools(x), margins)
    for r in range(0, len(x), 23):
        same(name, score(x[r:r + 1]), margins[r])
    for n in (7, 17, 129):
        same(name, score(x[:n]), margins[:n])
    if name.startswith("fixture"):
        path.write_text(json.dumps(brief(document), separators=(",", ":"), ensure_ascii=False))
    write(name, "catboost-json", path, codes(x, document), margins, outputs, contributions(model, document, pools(x), margins))


def contributions(model, document, pool, margins):
    # Scaled ones it can't explain; of trees that are not symmetric what it gives does not add up, and of one leaf it crashes.
    if model.get_scale_and_bias()[0] != 1 or "trees" in document:
        return None
    values = np.asarray(model.get_feature_importance(pool, type="ShapValues"), dtype=np.float64)
    # Of a variance it gives none.
    return values if values.size == margins.size * values.shape[-1] else None


def brief(document):
    """Without what it was trained with, but for the loss."""
    info = document["model_info"]
    version = next(line.strip() for line in info["catboost_version_info"].splitlines() if "Branch:" in line)
    kept = dict(catboost_version_info=version, params=dict(loss_function=info["params"]["loss_function"]))
    return document | dict(model_info=kept | {key: info[key] for key in ("class_params",) if key in info})


def losses():
    x, y, rng = data(41, missing=0.1)
    positive, label = np.exp(np.clip(y, -5, 5)), (y > 0).astype(int)
    for loss in ("RMSE", "MAE", "Quantile:alpha=0.3", "LogLinQuantile", "Expectile:alpha=0.3", "MAPE", "Lq:q=3",
                 "Huber:delta=1", "LogCosh", "RMSPE", "RMSEWithUncertainty", "MultiQuantile:alpha=0.1,0.5,0.9"):
        catboost(f"cat-{loss.split(':')[0].lower()}", x, positive if loss == "LogLinQuantile" else y, dict(loss_function=loss))
    for loss in ("Poisson", "Tweedie:variance_power=1.5"):
        catboost(f"cat-{loss.split(':')[0].lower()}", x, np.round(positive), dict(loss_function=loss))
    catboost("cat-logloss", x, label, dict(loss_function="Logloss"))
    catboost("cat-logloss-average", x, label, dict(loss_function="Logloss", boost_from_average=True))
    catboost("cat-crossentropy", x, 1 / (1 + positive), dict(loss_function="CrossEntropy"))
    catboost("cat-focal", x, label, dict(loss_function="Focal:focal_alpha=0.5;focal_gamma=2"))
    catboost("cat-saturated", x, label, dict(loss_function="Logloss", learning_rate=5, l2_leaf_reg=0, iterations=60))
    targets = np.column_stack([y, -y, y * y])
    catboost("cat-multirmse", x, targets, dict(loss_function="MultiRMSE"))
    catboost("cat-multilogloss", x, (targets > 0.2).astype(int), dict(loss_function="MultiLogloss"))
    catboost("cat-multicrossentropy", x, 1 / (1 + np.exp(-targets)), dict(loss_function="MultiCrossEntropy"))
    catboost("cat-survivalaft", x, np.column_stack([positive, positive + 1]), dict(loss_function="SurvivalAft"))
    catboost("cat-cox", x, y, dict(loss_function="Cox"))
    group = np.repeat(np.arange(len(x) // 20), 20)
    for loss in ("YetiRank", "QueryRMSE", "PairLogit", "QuerySoftMax", "StochasticRank:metric=NDCG"):
        catboost(f"cat-{loss.split(':')[0].lower()}", x, np.digitize(y, [-1, 0, 1]), dict(loss_function=loss), group=group)


def classes():
    x, y, _ = data(42, missing=0.1)
    label = np.digitize(y, [-1, 0, 1])
    for loss in ("MultiClass", "MultiClassOneVsAll"):
        catboost(f"cat-{loss.lower()}", x, label, dict(loss_function=loss))
        catboost(f"cat-{loss.lower()}-names", x, np.array(list("nasw"))[label], dict(loss_function=loss))
    catboost("cat-multiclass-nested", x, label, dict(loss_function="MultiClass", grow_policy="Lossguide", max_leaves=9))


def missing():
    for name, share in (("none", 0.0), ("some", 0.2)):
        x, y, _ = data(43, missing=share, zeros=0.2)
        for mode in ("Min", "Max"):
            catboost(f"cat-nan-{mode.lower()}-{name}", x, y + 3 * np.isnan(x[:, 0]), dict(nan_mode=mode, iterations=25))
            catboost(f"cat-nan-{mode.lower()}-{name}-nested", x, y, dict(nan_mode=mode, grow_policy="Depthwise"))


def shapes():
    x, y, _ = data(44, missing=0.05)
    label = (y > 0).astype(int)
    catboost("cat-stumps", x, label, dict(loss_function="Logloss", depth=1, iterations=40))
    catboost("cat-one-column", x[:, :1], y, {})
    catboost("cat-deep", x, y, dict(depth=12, iterations=3))
    catboost("cat-many-trees", x, label, dict(loss_function="Logloss", iterations=3000, depth=3))
    big, target, _ = data(45, columns=3, rows=5000)
    catboost("cat-borders", big, target, dict(border_count=3000, iterations=60, depth=6))
    wide, target, _ = data(46, columns=5000, rows=200, missing=0.3)
    catboost("cat-wide", wide, target, dict(iterations=20))
    catboost("cat-ignored", x, y, dict(ignored_features=[1, 5]))
    catboost("cat-scaled", x, label, dict(loss_function="Logloss"), scale=(0.3, 0.7))
    catboost("cat-biased", x, y, {}, scale=(1.0, -0.0123))
    catboost("cat-scaled-classes", x, np.digitize(y, [-1, 1]), dict(loss_function="MultiClass"), scale=(3.7, [0.1, -0.2, 0.3]))
    if ONLY in "cat-sum":
        two = [train(x, y, dict(random_seed=seed)) for seed in (1, 2)]
        catboost("cat-sum", x, y, {}, model=cb.sum_models(two, weights=[0.3, 0.7]))


def policies():
    x, y, _ = data(47, missing=0.1)
    for policy, more in (("Lossguide", dict(max_leaves=40, depth=16)), ("Depthwise", dict(depth=7)), ("SymmetricTree", {})):
        catboost(f"cat-{policy.lower()}", x, y, dict(grow_policy=policy, min_data_in_leaf=3) | more)
    catboost("cat-lossguide-binary", x, (y > 0).astype(int), dict(loss_function="Logloss", grow_policy="Lossguide"))
    catboost("cat-lossguide-one-leaf", x, y, dict(grow_policy="Lossguide", min_data_in_leaf=10_000, iterations=2))


def frames(columns, texts):
    """Of a matrix whose `columns` are places in `texts`: the data frame with them, and the codes of a saved model."""
    def takes(x):
        frame = pd.DataFrame(np.array(x), columns=[f"c{i}" for i in range(x.shape[1])])
        for column in columns:
            frame[f"c{column}"] = pd.Series([texts[int(v)] for v in x[:, column]], dtype=object)
        return frame

    def codes(x, document):
        info, x = document["features_info"], np.array(x)
        names = {h["hash"]: h["value"] for h in info["cat_features_hash"]}
        for feature in info["categorical_features"]:
            known = [names[value % 2**32] for value in feature.get("values", [])]
            column = feature["flat_feature_index"]
            given = [texts[int(v)] for v in x[:, column]]
            x[:, column] = [known.index(text) if text in known else np.nan for text in given]
        return x

    return takes, codes


def categories():
    texts = [f"t{i}" for i in range(38)] + ["São Paulo", ""]
    for name, params in (("", {}), ("-nested", dict(grow_policy="Lossguide")), ("-classes", dict(loss_function="MultiClass"))):
        x, y, _ = data(48, missing=0.1, categorical=(0, 3))
        x[:, [0, 3]] = np.nan_to_num(x[:, [0, 3]], nan=5)
        y = np.digitize(y, [-1, 1]) if name == "-classes" else y
        one_hot = dict(one_hot_max_size=60, iterations=40)
        catboost(f"cat-onehot{name}", x, y, one_hot | params, rows=frames((0, 3), texts))


def fixtures():
    """Tiny models, committed."""
    x, y, _ = data(51, columns=4, missing=0.1, categorical=(2,), rows=300)
    x[:, 2] = np.nan_to_num(x[:, 2], nan=5) % 3
    few = dict(iterations=4, depth=3, one_hot_max_size=9)
    rows = frames((2,), ["admin.", "São Paulo", "x,y]"])
    y = y + 3 * (x[:, 2] == 1)
    catboost("fixture-cat-onehot", x, (y > 0).astype(int), few | dict(loss_function="Logloss"), rows=rows, probed=25)
    nested = dict(iterations=2, grow_policy="Lossguide", max_leaves=5, loss_function="MultiClass", nan_mode="Max")
    catboost("fixture-cat-nested", x, np.digitize(y, [-1, 1]), nested, probed=25)


if __name__ == "__main__":
    main()
