"""FastAPI with LightGBM's own Python package: uvicorn serves `app`."""

import os

import lightgbm
import numpy
import orjson
from fastapi import FastAPI, Request, Response

booster = lightgbm.Booster(model_file=os.environ["MODEL_TEXT"])
app = FastAPI()


@app.post("/predict")
async def predict(request: Request) -> Response:
    rows = numpy.array(orjson.loads(await request.body())["instances"], dtype=numpy.float64)
    scores = booster.predict(rows, num_threads=1)
    body = orjson.dumps({"predictions": scores}, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(body, media_type="application/json")
