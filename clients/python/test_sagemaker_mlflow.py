"""What calls /invocations: MLflow's scoring client, boto3's sagemaker-runtime."""

import csv
import io
import json
import math

import boto3
import pandas
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from mlflow.pyfunc.scoring_server.client import ScoringServerClient


def frame(known):
    """As a caller has it: missing numbers are NaN, the text a category."""
    table = pandas.DataFrame(known.rows, columns=known.names)
    return table.astype({"job": "category"})


@pytest.fixture
def mlflow(port):
    return ScoringServerClient("127.0.0.1", port)


def test_mlflow_asks_for_a_ping(mlflow):
    mlflow.ping()
    mlflow.wait_server_ready(timeout=5)


def test_mlflow_scores_a_data_frame(mlflow, bank):
    """The default model: MLflow's client knows no names of models."""
    assert mlflow.invoke(frame(bank))["predictions"] == bank.outputs["probability"]
    table = mlflow.invoke(frame(bank)).get_predictions()
    assert table[0].tolist() == bank.outputs["probability"]


def test_mlflow_says_our_words(mlflow):
    with pytest.raises(Exception, match="400.*'bank'.*'age'"):
        mlflow.invoke(pandas.DataFrame({"age": ["old"]}))
    with pytest.raises(Exception, match="400.*'bank'"):
        mlflow.invoke(pandas.DataFrame({"nothing": [1.0]}))


@pytest.fixture
def sagemaker(address):
    return boto3.client(
        "sagemaker-runtime",
        endpoint_url=f"http://{address}",
        region_name="eu-central-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
        config=Config(retries={"total_max_attempts": 1}),
    )


def invoke(sagemaker, body, model="bank", **more):
    reply = sagemaker.invoke_endpoint(EndpointName=model, Body=body, **more)
    return reply["ContentType"], reply["Body"].read()


BODIES = {
    "rows": lambda known: {"instances": known.rows},
    "names": lambda known: {"instances": known.records()},
    "columns": lambda known: {"inputs": {name: known.column(name) for name in known.names}},
    "split": lambda known: {"dataframe_split": {"columns": known.names, "data": known.rows}},
    "records": lambda known: {"dataframe_records": known.records()},
}


@pytest.mark.parametrize("model, output", [("bank", "probability"), ("grade", "probabilities")])
@pytest.mark.parametrize("form", BODIES)
def test_sagemaker_json(sagemaker, request, model, output, form):
    known = request.getfixturevalue(model)
    content, body = invoke(sagemaker, json.dumps(BODIES[form](known)), model, ContentType="application/json")
    assert content.startswith("application/json")
    assert list(json.loads(body).values()) == [known.outputs[output]]


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize("model, output", [("bank", "probability"), ("grade", "probabilities")])
def test_sagemaker_csv(sagemaker, request, model, output, header):
    known = request.getfixturevalue(model)
    text = io.StringIO()
    frame(known).to_csv(text, index=False, header=header)
    content, body = invoke(sagemaker, text.getvalue(), model, ContentType="text/csv", Accept="text/csv")
    assert content.startswith("text/csv")
    values = known.outputs[output]
    wanted = values if isinstance(values[0], list) else [[value] for value in values]
    assert [[float(cell) for cell in row] for row in csv.reader(io.StringIO(body.decode()))] == wanted
    content, body = invoke(sagemaker, text.getvalue(), model, ContentType="text/csv", Accept="application/json")
    assert json.loads(body)["predictions"] == values


def test_sagemaker_says_our_words(sagemaker):
    def refused(status, *words, **call):
        with pytest.raises(ClientError) as error:
            invoke(sagemaker, **call)
        assert error.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
        for word in words:
            assert word in str(error.value), error.value

    refused(404, "'nothing'", body="{}", model="nothing", ContentType="application/json")
    wrong = json.dumps({"instances": [{"age": "old"}]})
    refused(400, "'bank'", "'age'", "row 0", body=wrong, ContentType="application/json")
    refused(400, "'bank'", "'age'", "row 1", body="age,job\n41,clerk\nold,clerk\n", ContentType="text/csv")
    refused(400, "'bank'", body='age,job\n41,"cle', ContentType="text/csv")
    refused(400, "JSON", body=b"\x89PNG", ContentType="image/png")


def test_missing_values_in_csv(sagemaker, bank):
    """An empty cell is missing, as null is."""
    _, body = invoke(sagemaker, "age,balance,job\n41,,clerk\n", ContentType="text/csv", Accept="text/csv")
    same = json.dumps({"instances": [{"age": 41, "balance": None, "job": "clerk"}]})
    _, also = invoke(sagemaker, same, ContentType="application/json")
    assert math.isfinite(float(body)) and [float(body)] == json.loads(also)["predictions"]
