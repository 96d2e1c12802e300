"""KServe's Python server with a custom model that scores with LightGBM, protocol v1."""

import os

import lightgbm
import numpy
from kserve import Model, ModelServer, model_server


class Scorer(Model):
    def __init__(self, name):
        super().__init__(name)
        self.ready = False
        self.load()

    def load(self):
        self.booster = lightgbm.Booster(model_file=os.environ["MODEL_TEXT"])
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        rows = numpy.array(payload["instances"], dtype=numpy.float64)
        return {"predictions": self.booster.predict(rows, num_threads=1).tolist()}


if __name__ == "__main__":
    arguments = model_server.parser.parse_args()
    ModelServer(
        http_port=arguments.http_port,
        workers=arguments.workers,
        enable_grpc=False,
        enable_latency_logging=False,
        access_log_format=None,
    ).start([Scorer("bench")])
