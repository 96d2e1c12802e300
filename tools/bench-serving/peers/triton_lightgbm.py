"""A model of Triton's Python backend that scores with LightGBM: the `model.py` of its repository. Requests that Triton's
batcher gathered, where it is on, are scored in one call."""

import os

import lightgbm
import numpy
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.booster = lightgbm.Booster(model_file=os.environ["MODEL_TEXT"])

    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(request, "rows").as_numpy() for request in requests]
        rows = inputs[0] if len(inputs) == 1 else numpy.concatenate(inputs)
        scores = self.booster.predict(rows, num_threads=1)
        responses, at = [], 0
        for rows in inputs:
            tensor = pb_utils.Tensor("probability", scores[at : at + len(rows)])
            responses.append(pb_utils.InferenceResponse([tensor]))
            at += len(rows)
        return responses
