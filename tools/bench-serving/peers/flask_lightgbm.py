"""Flask with LightGBM: gunicorn serves `app`."""

import os

import lightgbm
import numpy
import orjson
from flask import Flask, Response, request

booster = lightgbm.Booster(model_file=os.environ["MODEL_TEXT"])
app = Flask(__name__)


@app.post("/predict")
def predict() -> Response:
    rows = numpy.array(orjson.loads(request.get_data())["instances"], dtype=numpy.float64)
    scores = booster.predict(rows, num_threads=1)
    body = orjson.dumps({"predictions": scores}, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, mimetype="application/json")
