"""A model of Triton's Python backend that adds up rows, and its version to them."""

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.version = float(args["model_version"])

    def execute(self, requests):
        responses = []
        for request in requests:
            rows = pb_utils.get_input_tensor_by_name(request, "rows").as_numpy()
            sums = rows.sum(axis=1) + self.version
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("sum", sums)]))
        return responses
