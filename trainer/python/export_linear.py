#!/usr/bin/env python3
"""Writes a linear model over hashed features as one file of weights, `headgate-linear/2` (docs/LINEAR.md).

    from export_linear import category, cross, export, golden, number, tokens, weights_of

    export("ctr.hgl", **weights_of(model), hash="sklearn",
           fields=[number("price"), category("site"), cross("site", "ad"), tokens("query", split="words", norm="l2")])
    golden("rows.jsonl", rows, margins=model.decision_function(matrix), outputs=model.predict_proba(matrix)[:, 1])

    headgate publish ctr.hgl --model ctr --golden rows.jsonl --tolerance 1e-6

Copy this file next to your training: it needs numpy. What a model was trained on must be what the fields say, text for
text; the golden rows prove that it was.
"""

import json
import struct

import numpy as np

MAGIC = b"HGLINEAR"
VERSION = 2
ALIGNMENT = 64
HASHES = ("sklearn", "sklearn-unsigned", "spark")
LINKS = ("identity", "log", "logistic", "softmax", "ovr")
TYPES = {"f32": "<f4", "f64": "<f8"}


class NotServed(ValueError):
    """A model or vectorizer that the format can't hold, and why."""


# --- fields


def number(input, index=None, key=None, space=None):
    """A number times the weight at `index`, or at the hash of `key`, which is the input's name unless given."""
    return _field("number", input=input, index=index, key=key, space=_space(space))


def category(input, prefix=None, space=None):
    """The weight at the hash of a text after `prefix`, which is `input=` unless given."""
    return _field("category", input=input, prefix=prefix, space=_space(space))


def cross(*inputs, prefix=None, join=None, space=None):
    """The weight at the hash of several texts, `join` (`^`) between them, after `prefix` (`a^b=`)."""
    return _field("cross", inputs=list(inputs), prefix=prefix, join=join, space=_space(space))


def tokens(input, split="whitespace", lowercase=False, prefix="", binary=False, norm=None, space=None):
    """The weights at the hashes of a text's parts. `split`: `whitespace`, `words`, or the separator as `{"on": "|"}`."""
    options = dict(lowercase=lowercase or None, prefix=prefix or None, binary=binary or None, norm=norm)
    return _field("tokens", input=input, split=split, **options, space=_space(space))


def tokens_of(vectorizer, input, first=0):
    """The field of a scikit-learn HashingVectorizer whose columns begin at bucket `first`."""
    expected = dict(input="content", strip_accents=None, preprocessor=None, tokenizer=None, stop_words=None,
                    ngram_range=(1, 1), analyzer="word", token_pattern=r"(?u)\b\w\w+\b")
    for name, value in expected.items():
        if getattr(vectorizer, name) != value:
            raise NotServed(f"HashingVectorizer({name}={getattr(vectorizer, name)!r}): {value!r} expected")
    return tokens(input, split="words", lowercase=vectorizer.lowercase, binary=vectorizer.binary, norm=vectorizer.norm,
                  space=(first, vectorizer.n_features))


def hash_of(hasher):
    """The hash of a scikit-learn FeatureHasher or HashingVectorizer."""
    return "sklearn" if hasher.alternate_sign else "sklearn-unsigned"


def _field(kind, **members):
    return dict(kind=kind) | {name: value for name, value in members.items() if value is not None}


def _space(space):
    return None if space is None else dict(first=int(space[0]), buckets=int(space[1]))


# --- weights


def weights_of(model):
    """Weights, bias and link of a scikit-learn linear model, as `export` takes them."""
    name = type(model).__name__
    weights = np.atleast_2d(np.asarray(model.coef_.todense() if hasattr(model.coef_, "todense") else model.coef_))
    bias = np.broadcast_to(np.asarray(model.intercept_, dtype=np.float64).ravel(), (len(weights),))
    if hasattr(model, "predict_proba"):
        link = "logistic" if len(weights) == 1 else _several(model, name)
    elif name in ("PoissonRegressor", "GammaRegressor", "TweedieRegressor"):
        link = "log" if name != "TweedieRegressor" or model._get_loss().link.inverse(1.0) != 1.0 else "identity"
    else:
        link = "identity"
    return dict(weights=weights, bias=bias, link=link)


def _several(model, name):
    """How several margins become probabilities."""
    if name == "SGDClassifier" and model.loss == "log_loss":
        return "ovr"
    if name in ("LogisticRegression", "LogisticRegressionCV"):
        ovr = getattr(model, "multi_class", "deprecated") == "ovr" or model.solver == "liblinear"
        return "ovr" if ovr else "softmax"
    raise NotServed(f"{name} with several classes: say weights, bias and link yourself")


# --- files


def export(path, weights, bias, fields, hash="sklearn", link="identity", dtype="f32"):
    """Writes the file. `weights`: one for each bucket, or rows of them, one for each output; `bias`: as many."""
    weights, bias = np.asarray(weights), np.atleast_1d(np.asarray(bias, dtype=np.float64))
    if weights.ndim == 1:
        weights = weights[np.newaxis]
    outputs, buckets = weights.shape
    if hash not in HASHES or link not in LINKS or dtype not in TYPES:
        raise ValueError(f"hash {hash!r}, link {link!r}, dtype {dtype!r}: one of {HASHES}, {LINKS}, {tuple(TYPES)} expected")
    if bias.shape != (outputs,):
        raise ValueError(f"a bias of shape {bias.shape} for {outputs} rows of weights")
    header = dict(hash=hash, link=link, buckets=buckets, weights=dtype, bias=bias.tolist(), fields=fields)
    header = json.dumps(header, ensure_ascii=False, allow_nan=False).encode()
    with np.errstate(over="ignore"):
        # Bucket by bucket, in each one for every output.
        written = np.ascontiguousarray(weights.T, dtype=TYPES[dtype])
    if not np.isfinite(written).all():
        raise ValueError(f"weight {int(np.argmin(np.isfinite(written)))} is no finite {dtype}")
    start = MAGIC + struct.pack("<IIQ", VERSION, len(header), written.size) + header
    with open(path, "wb") as file:
        file.write(start + bytes(-len(start) % ALIGNMENT))
        file.write(written)


def golden(path, rows, margins=None, outputs=None):
    """Writes golden rows: `rows` are dicts by input, `margins` and `outputs` what the training library gave for them."""
    with open(path, "w", encoding="utf-8") as file:
        for at, row in enumerate(rows):
            row = {name: value for name, value in row.items() if value is not None}
            for name, values in (("margin", margins), ("output", outputs)):
                if values is not None:
                    row[name] = np.atleast_1d(values[at]).astype(np.float64).tolist()
            file.write(json.dumps(row, ensure_ascii=False, default=lambda value: value.item()) + "\n")
