"""pyarrow: a table in, a table out, as an IPC stream, for bulk jobs."""

import pyarrow
import pytest
import requests

MEDIA = "application/vnd.apache.arrow.stream"
TYPES = {"FP64": pyarrow.float64(), "FP32": pyarrow.float32(), "INT64": pyarrow.int64(), "BOOL": pyarrow.bool_(), "BYTES": pyarrow.string()}


def table(known, **types):
    """`types`: columns of another type than the model's."""
    return pyarrow.table({
        i["name"]: pyarrow.array(known.column(i["name"]), TYPES[i["datatype"]]).cast(types.get(i["name"], TYPES[i["datatype"]]))
        for i in known.inputs
    })


def stream(table, batch=None):
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=batch)
    return sink.getvalue().to_pybytes()


def post(address, path, body, **headers):
    return requests.post(f"http://{address}{path}", data=body, headers={"content-type": MEDIA, "accept": MEDIA} | headers, timeout=20)


def scored(address, path, body):
    reply = post(address, path, body)
    assert reply.status_code == 200, reply.text
    assert reply.headers["content-type"] == MEDIA
    return pyarrow.ipc.open_stream(reply.content).read_all()


PATHS = ["/v2/models/{}/infer", "/endpoints/{}/invocations"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("model, output", [("bank", "probability"), ("grade", "probabilities")])
def test_a_table(address, request, path, model, output):
    known = request.getfixturevalue(model)
    got = scored(address, path.format(model), stream(table(known)))
    assert got.column(output).to_pylist() == known.outputs[output]


def test_all_kinds(address, kinds):
    got = scored(address, "/v2/models/kinds/infer", stream(table(kinds)))
    assert got.to_pydict() == kinds.outputs
    types = {"sum": "double", "half": "float", "twice": "int64", "both": "bool", "shout": "string"}
    assert {field.name: str(field.type) for field in got.schema} == types


def test_pandas_with_categories(address, bank):
    frame = table(bank).to_pandas().astype({"job": "category"})
    sent = pyarrow.Table.from_pandas(frame, preserve_index=False)
    assert pyarrow.types.is_dictionary(sent.schema.field("job").type)
    got = scored(address, "/v2/models/bank/infer", stream(sent)).to_pandas()
    assert got["probability"].tolist() == bank.outputs["probability"]


@pytest.mark.parametrize("text", [pyarrow.large_string(), pyarrow.string_view()])
def test_other_types_of_text(address, bank, text):
    got = scored(address, "/v2/models/bank/infer", stream(table(bank, job=text)))
    assert got.column("probability").to_pylist() == bank.outputs["probability"]


@pytest.mark.parametrize("number", [pyarrow.int8(), pyarrow.int32(), pyarrow.uint64(), pyarrow.float32()])
def test_other_types_of_numbers(address, bank, number):
    got = scored(address, "/v2/models/bank/infer", stream(table(bank, age=number, campaign=number)))
    assert got.column("probability").to_pylist() == bank.outputs["probability"]


def test_many_batches(address, bank):
    got = scored(address, "/v2/models/bank/infer", stream(table(bank), batch=7))
    assert got.column("probability").to_pylist() == bank.outputs["probability"]


def test_slices_and_extra_columns(address, bank):
    whole = table(bank).append_column("colour", pyarrow.array(["red"] * len(bank.rows)))
    reply = post(address, "/v2/models/bank/infer", stream(whole.slice(5, 11)))
    assert reply.headers["x-headgate-ignored"] == "colour"
    got = pyarrow.ipc.open_stream(reply.content).read_all()
    assert got.column("probability").to_pylist() == bank.outputs["probability"][5:16]


def test_a_hundred_thousand_rows(address, bank):
    times = 100_000 // len(bank.rows)
    large = pyarrow.concat_tables([table(bank)] * times).combine_chunks()
    got = scored(address, "/v2/models/bank/infer", stream(large))
    assert got.column("probability").to_pylist() == bank.outputs["probability"] * times


def test_what_is_wrong_is_said(address, bank):
    def refused(body, status, *words):
        reply = post(address, "/v2/models/bank/infer", body)
        assert reply.status_code == status, reply.text
        for word in words:
            assert word in reply.json()["error"], reply.text

    whole = stream(table(bank))
    refused(whole[:100], 400, "'bank'")
    refused(whole[:-200], 400, "'bank'")
    refused(b"", 400, "'bank'")
    refused(b"no stream at all", 400, "'bank'")
    refused(whole[:8] + b"\xff" * 16 + whole[24:], 400, "'bank'")
    refused(stream(table(bank, age=pyarrow.string())), 400, "'bank'", "'age'")
    refused(stream(pyarrow.table({"age": pyarrow.array([[1.0]])})), 400, "'age'")
    refused(stream(table(bank, job=pyarrow.binary())), 400, "'bank'", "'job'", "binary")
    refused(stream(pyarrow.table({"nothing": [1.0]})), 400, "'bank'", "nothing")
    refused(stream(table(bank).slice(0, 0)), 400, "'bank'")
    assert scored(address, "/v2/models/bank/infer", whole).num_rows == len(bank.rows)
