"""FastAPI with ONNX Runtime as its tutorial writes it: a Pydantic model for the body, a plain value for the reply."""

import os

import numpy
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(os.environ["MODEL_ONNX"], options, providers=["CPUExecutionProvider"])
app = FastAPI()


class Rows(BaseModel):
    instances: list[list[float]]


class Scores(BaseModel):
    predictions: list[float]


@app.post("/predict")
async def predict(rows: Rows) -> Scores:
    margins = session.run(["margins"], {"rows": numpy.array(rows.instances, dtype=numpy.float32)})[0][:, 0]
    return Scores(predictions=(1 / (1 + numpy.exp(-margins))).tolist())
