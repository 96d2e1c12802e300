"""Rows as NumPy arrays, for the clients that take them."""

import numpy

TYPES = {"FP64": numpy.float64, "FP32": numpy.float32, "INT64": numpy.int64, "BOOL": numpy.bool_, "BYTES": numpy.object_}


def columns(known, shape=(-1,)):
    """(name, datatype, array) of each input; a number that is missing is NaN, a text that is missing the empty one."""
    for tensor in known.inputs:
        name, datatype = tensor["name"], tensor["datatype"]
        missing = "" if datatype == "BYTES" else numpy.nan
        values = [missing if value is None else value for value in known.column(name)]
        yield name, datatype, numpy.array(values, dtype=TYPES[datatype]).reshape(shape)


def expected(known, output):
    """What comes out, as an array."""
    values = known.outputs[output]
    return numpy.array(values, dtype=numpy.object_ if isinstance(values[0], str) else None)


def same(got, known, output):
    """Whether an array is what comes out, to the bit. Texts may be bytes, as they are where tensors are binary."""
    wanted = expected(known, output)
    if got.dtype == numpy.object_:
        got = numpy.array([v.decode() if isinstance(v, bytes) else v for v in got.ravel()], dtype=object).reshape(got.shape)
    assert got.shape == wanted.shape, (got.shape, wanted.shape)
    assert (got == wanted).all(), (got, wanted)
