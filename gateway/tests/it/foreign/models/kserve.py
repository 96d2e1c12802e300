"""KServe's Python server with a model that adds up rows, in both protocols."""

import numpy
from kserve import InferOutput, InferRequest, InferResponse, Model, ModelServer, model_server


class Sum(Model):
    def __init__(self, name):
        super().__init__(name)
        self.ready = True

    async def predict(self, payload, headers=None, response_headers=None):
        if not isinstance(payload, InferRequest):
            return {"predictions": numpy.array(payload["instances"]).sum(axis=1).tolist()}
        sums = payload.inputs[0].as_numpy().sum(axis=1)
        output = InferOutput(name="sum", shape=list(sums.shape), datatype="FP64")
        output.set_data_from_numpy(sums, binary_data=payload.from_grpc)
        return InferResponse(payload.id or "none", self.name, [output])


if __name__ == "__main__":
    arguments = model_server.parser.parse_args()
    ModelServer(http_port=arguments.http_port, grpc_port=arguments.grpc_port, workers=1).start([Sum("sum")])
