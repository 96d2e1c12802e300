"""Trains the models that all engines are measured with: synthetic rows with a fixed seed, so that every machine measures
the same forests. Writes into a folder what each engine needs: model texts, rows, and the margins LightGBM computes."""

import concurrent.futures
import hashlib
import pathlib
import sys

import lightgbm as lgb
import numpy as np

try:
    import xgboost as xgb
except ImportError:
    xgb = None

FEATURES = 50
TRAINING_ROWS = 200_000
SCORED_ROWS = 8_192
# Trees and leaves of each model.
SIZES = [(500, 63), (100, 31)]
NAMES = [f"{trees}x{leaves}" for trees, leaves in SIZES]


def make_rows(count, seed):
    """Rows of continuous features. The values fit a float exactly, as XGBoost and ONNX Runtime take nothing wider."""
    return np.random.default_rng(seed).standard_normal((count, FEATURES)).astype(np.float32).astype(np.float64)


def make_labels(rows, seed):
    """A label that depends on most features, on many of them in pairs: trees grow deep and use every column."""
    random = np.random.default_rng(seed)
    signal = np.zeros(len(rows))
    for feature in range(FEATURES):
        other = int(random.integers(FEATURES))
        weight = random.normal()
        signal += weight * np.sin(random.uniform(0.5, 2.0) * rows[:, feature])
        signal += random.normal() * rows[:, feature] * (rows[:, other] > random.normal())
    signal += random.normal(scale=2.0, size=len(rows))
    return (signal > np.median(signal)).astype(np.float64)


def train_lightgbm(rows, labels, trees, leaves):
    """A binary LightGBM model of exactly this many trees."""
    parameters = dict(
        objective="binary", num_leaves=leaves, learning_rate=0.05, min_data_in_leaf=20, max_bin=255,
        seed=1, deterministic=True, force_row_wise=True, num_threads=1, verbose=-1,
    )
    return lgb.train(parameters, lgb.Dataset(rows, labels), num_boost_round=trees)


def train_xgboost(rows, labels, trees, leaves):
    """A binary XGBoost model of the same size, grown leaf by leaf as LightGBM's are."""
    parameters = dict(
        objective="binary:logistic", tree_method="hist", grow_policy="lossguide", max_leaves=leaves, max_depth=0,
        learning_rate=0.05, max_bin=256, seed=1, nthread=1, verbosity=0,
    )
    return xgb.train(parameters, xgb.DMatrix(rows.astype(np.float32), labels), num_boost_round=trees)


def write_lightgbm(folder, name, booster, rows):
    """The model's text, and the raw margins of what is read back from it, as every engine reads it."""
    text = folder / f"{name}.txt"
    text.write_text(booster.model_to_string())
    margins = lgb.Booster(model_file=str(text)).predict(rows, raw_score=True, num_threads=1)
    margins.astype("<f8").tofile(folder / f"{name}.margins.f64")


def write_xgboost(folder, name, booster, rows):
    """The model as JSON, and its margins."""
    booster.save_model(folder / f"{name}.xgboost.json")
    margins = booster.inplace_predict(rows.astype(np.float32), predict_type="margin")
    margins.astype("<f4").tofile(folder / f"{name}.xgboost.margins.f32")


def make(folder, train, write, trees, leaves):
    """Trains a model and writes it, in a process of its own: one thread gives the same forest everywhere."""
    rows = make_rows(TRAINING_ROWS, seed=1)
    booster = train(rows, make_labels(rows, seed=2), trees, leaves)
    write(folder, f"{trees}x{leaves}", booster, make_rows(SCORED_ROWS, seed=3))


def main(folder):
    """Writes everything, unless this file and the libraries are those that wrote what is there."""
    folder = pathlib.Path(folder)
    versions = f"{lgb.__version__} {xgb.__version__ if xgb else None}"
    digest = hashlib.sha256(pathlib.Path(__file__).read_bytes() + versions.encode()).hexdigest()
    marker = folder / "models.digest"
    if marker.exists() and marker.read_text() == digest:
        return
    folder.mkdir(parents=True, exist_ok=True)
    make_rows(SCORED_ROWS, seed=3).astype("<f8").tofile(folder / "rows.f64")
    libraries = {"LightGBM": (train_lightgbm, write_lightgbm)} | ({"XGBoost": (train_xgboost, write_xgboost)} if xgb else {})
    print(f"training {len(SIZES) * len(libraries)} models on {TRAINING_ROWS:,} rows, once", file=sys.stderr)
    with concurrent.futures.ProcessPoolExecutor() as pool:
        waiting = {}
        for trees, leaves in SIZES:
            for library, (train, write) in libraries.items():
                waiting[pool.submit(make, folder, train, write, trees, leaves)] = f"{library} {trees}x{leaves}"
        for done in concurrent.futures.as_completed(waiting):
            done.result()
            print(f"  {waiting[done]}", file=sys.stderr)
    marker.write_text(digest)


if __name__ == "__main__":
    main(sys.argv[1])
