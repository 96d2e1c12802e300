"""A model of MLServer that adds up rows."""

import numpy
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Sum(MLModel):
    async def predict(self, payload):
        rows = NumpyCodec.decode_input(payload.inputs[0]).astype(numpy.float64)
        sums = NumpyCodec.encode_output("sum", rows.sum(axis=1))
        return InferenceResponse(id=payload.id, model_name=self.name, model_version=self.version, outputs=[sums])
