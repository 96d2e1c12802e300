"""Writes ONNX files into the folder named by the first argument, and `cases.json`: rows with what scikit-learn gives."""

import json
import pathlib
import sys
import warnings

import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

warnings.filterwarnings("ignore")
folder = pathlib.Path(sys.argv[1])
cases = {}


def save(name, model):
    (folder / f"{name}.onnx").write_bytes(model.SerializeToString())


# --- scikit-learn -----------------------------------------------------------------------------------------------------
rng = np.random.default_rng(7)
rows = 400
frame = pd.DataFrame(
    {
        "job": rng.choice(["admin.", "blue collar", "São"], rows),
        "age": rng.normal(40, 10, rows).astype("float32"),
        "balance": rng.normal(0, 1000, rows).astype("float32"),
    }
)
frame.loc[::7, "balance"] = np.nan
target = np.where(frame.age + 8 * (frame.job == "São") + rng.normal(0, 5, rows) > 43, "yes", "no")
types = [
    ("job", StringTensorType([None, 1])),
    ("age", FloatTensorType([None, 1])),
    ("balance", FloatTensorType([None, 1])),
]
asked = frame[:40].copy()
asked.loc[3, "job"] = "never seen"
asked.loc[5, "job"] = ""
json_rows = [{k: v for k, v in row.items() if v == v and v != ""} for row in asked.to_dict("records")]

numbers = Pipeline([("impute", SimpleImputer()), ("scale", StandardScaler())])
columns = [("text", OneHotEncoder(handle_unknown="ignore"), ["job"]), ("numbers", numbers, ["age", "balance"])]
models = {
    "logistic": (LogisticRegression(), False),
    "boosting": (GradientBoostingClassifier(n_estimators=20, random_state=1), False),
    "forest": (RandomForestClassifier(n_estimators=20, max_depth=6, random_state=1), False),
    "zipped": (LogisticRegression(), True),
}
for name, (classifier, zipmap) in models.items():
    pipeline = Pipeline([("columns", ColumnTransformer(columns)), ("model", classifier)]).fit(frame, target)
    options = {} if zipmap else {id(classifier): {"zipmap": False}}
    save(name, convert_sklearn(pipeline, initial_types=types, options=options))
    cases[name] = {
        "rows": json_rows,
        "probabilities": pipeline.predict_proba(asked).tolist(),
        "labels": pipeline.predict(asked).tolist(),
    }

matrix = rng.normal(0, 1, (rows, 4))
classes = (matrix @ [1, -1, 0.5, 0] > 0).astype(int) + (matrix[:, 3] > 1)
classifier = LogisticRegression().fit(matrix, classes)
save("matrix", convert_sklearn(classifier, initial_types=[("x", FloatTensorType([None, 4]))]))
cases["matrix"] = {
    "rows": matrix[:40].tolist(),
    "probabilities": classifier.predict_proba(matrix[:40].astype("float32")).tolist(),
    "labels": classifier.predict(matrix[:40].astype("float32")).tolist(),
}
regressor = LinearRegression().fit(matrix, matrix[:, 0] * 3 + matrix[:, 1] ** 2)
save("double", convert_sklearn(regressor, initial_types=[("x", DoubleTensorType([None, 4]))]))
cases["double"] = {"rows": matrix[:40].tolist(), "values": regressor.predict(matrix[:40]).tolist()}


# --- graphs that no exporter writes ------------------------------------------------------------------------------------
def tensor(name, kind, shape):
    return helper.make_tensor_value_info(name, kind, shape)


def graph(name, nodes, inputs, outputs, initializers=(), imports=(("", 17),), **extra):
    made = helper.make_graph(nodes, name, inputs, outputs, list(initializers))
    opsets = [helper.make_opsetid(domain, version) for domain, version in imports]
    save(name, helper.make_model(made, opset_imports=opsets, ir_version=8, **extra))


node, FLOAT, INT64 = helper.make_node, TensorProto.FLOAT, TensorProto.INT64
x = tensor("x", FLOAT, [None, 2])
y = tensor("y", FLOAT, [None, 2])
weights = helper.make_tensor("w", FLOAT, [2], [2.0, 3.0])
graph("product", [node("Mul", ["x", "w"], ["y"])], [x], [y], [weights])
twice = helper.make_tensor("w", FLOAT, [2], [4.0, 6.0])
graph("product-twice", [node("Mul", ["x", "w"], ["y"])], [x], [y], [twice])
people = [tensor("age", FLOAT, [None, 1]), tensor("balance", FLOAT, [None, 1])]
graph("people", [node("Add", ["age", "balance"], ["probability"])], people, [tensor("probability", FLOAT, [None, 1])])
graph("product-of-one", [node("Mul", ["x", "w"], ["y"])], [tensor("x", FLOAT, [1, 2])], [tensor("y", FLOAT, [1, 2])], [weights])
graph("product-of-four", [node("Mul", ["x", "w"], ["y"])], [tensor("x", FLOAT, [4, 2])], [tensor("y", FLOAT, [4, 2])], [weights])
table = helper.make_tensor("table", FLOAT, [4], [0.5, 1.5, 2.5, 3.5])
place = tensor("place", INT64, [None, 1])
# A place beyond the table fails the whole run.
graph("table", [node("Gather", ["table", "place"], ["y"])], [place], [tensor("y", FLOAT, [None, 1])], [table])
mixed = [
    node("Cast", ["flag"], ["f"], to=FLOAT),
    node("Cast", ["small"], ["s"], to=FLOAT),
    node("Add", ["f", "s"], ["sum"]),
    node("Identity", ["text"], ["echo"]),
    node("Identity", ["big"], ["same"]),
]
graph(
    "mixed",
    mixed,
    [tensor("flag", TensorProto.BOOL, [None, 1]), tensor("small", TensorProto.INT32, [None, 1]),
     tensor("big", INT64, [None, 1]), tensor("text", TensorProto.STRING, [None, 1])],
    [tensor("sum", FLOAT, [None, 1]), tensor("echo", TensorProto.STRING, [None, 1]), tensor("same", INT64, [None, 1])],
)
# Turns as often as the first row says.
turn = helper.make_graph(
    [node("Add", ["so_far", "one"], ["next"]), node("Identity", ["on"], ["go_on"])],
    "turn",
    [tensor("turn_number", INT64, []), tensor("on", TensorProto.BOOL, []), tensor("so_far", FLOAT, None)],
    [tensor("go_on", TensorProto.BOOL, []), tensor("next", FLOAT, None)],
)
loop = [
    node("ReduceMax", ["turns"], ["most"], keepdims=0),
    node("Cast", ["turns"], ["start"], to=FLOAT),
    node("Loop", ["most", "true", "start"], ["y"], body=turn),
]
constants = [helper.make_tensor("one", FLOAT, [], [1.0]), helper.make_tensor("true", TensorProto.BOOL, [], [True])]
graph("loop", loop, [tensor("turns", INT64, [None, 1])], [tensor("y", FLOAT, [None, 1])], constants)
# Takes as many bytes as the first row says, four times.
bomb = [
    node("Reshape", ["size", "flat"], ["sizes"]),
    node("ReduceMax", ["sizes"], ["shape"], keepdims=1),
    node("ConstantOfShape", ["shape"], ["big"]),
    node("ReduceSum", ["big"], ["sum"], keepdims=0),
    node("Cast", ["size"], ["start"], to=FLOAT),
    node("Add", ["start", "sum"], ["y"]),
]
flat = helper.make_tensor("flat", INT64, [1], [-1])
graph("bomb", bomb, [tensor("size", INT64, [None, 1])], [tensor("y", FLOAT, [None, 1])], [flat])

# --- what is refused ---------------------------------------------------------------------------------------------------
foreign = [node("Mystery", ["x"], ["y"], name="m", domain="com.example")]
graph("foreign", foreign, [x], [y], imports=(("", 17), ("com.example", 1)))
graph("unknown", [node("Mystery", ["x"], ["y"], name="m")], [x], [y])
outside = helper.make_tensor("w", FLOAT, [2], [2.0, 3.0])
outside.ClearField("float_data")
outside.data_location = TensorProto.EXTERNAL
outside.external_data.add(key="location", value="../../../../etc/passwd")
graph("outside", [node("Mul", ["x", "w"], ["y"])], [x], [y], [outside])
within = node("Constant", [], ["w"], value=outside)
graph("outside-within", [within, node("Mul", ["x", "w"], ["y"])], [x], [y])
sequence = helper.make_tensor_sequence_value_info("x", FLOAT, None)
graph("sequence", [node("SequenceAt", ["x", "zero"], ["y"])], [sequence], [y], [helper.make_tensor("zero", INT64, [], [0])])
half = tensor("x", TensorProto.FLOAT16, [None, 2])
graph("half", [node("Cast", ["x"], ["y"], to=FLOAT)], [half], [y])
graph("summed", [node("ReduceSum", ["x"], ["y"], keepdims=1)], [x], [tensor("y", FLOAT, None)])
product = (folder / "product.onnx").read_bytes()
(folder / "short.onnx").write_bytes(product[: len(product) // 2])
(folder / "garbage.onnx").write_bytes(b"\x08\x08" + rng.bytes(4000))

(folder / "cases.json").write_text(json.dumps(cases))
