"""What is right although it looks like a failure.

A door takes more than its document says, where callers differ: booleans and words for numbers, whole numbers written with a
fraction, rows as arrays, features and parameters that are not known, a time that is longer than any. It refuses what no schema can say is
wrong: tensors whose shape is not that of their data, rows of which no feature is known. And a version's own code may fail at
rows that its signature allows. All else that schemathesis calls a failure is one.
"""

import functools
import json

import jsonschema_rs
import schemathesis
from schemathesis import GenerationMode
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.core.parameters import ParameterLocation
from schemathesis.openapi.checks import RejectedPositiveData

NUMBERS = ("number", "integer", "boolean")
# What JSON has no number for.
WORDS = ["NaN", "nan", "Infinity", "inf", "-Infinity", "-inf"]
CELL = {"type": ["number", "boolean", "string", "null"]}
TIMEOUT = "x-headgate-timeout-ms"
ENOUGH_MS = 20_000
# What a document can't say of rows, by how the refusal begins to say it.
UNSAID = ["none of the features sent", "a number too large for a 64-bit float"]


def lenient(schema):
    """A schema of OpenAPI 3.0 as one of JSON Schema, for what the door takes where it stands."""
    if isinstance(schema, list):
        return [lenient(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kind, nullable = schema.get("type"), schema.get("nullable")
    if "x-categories" in schema:
        return CELL
    if kind in NUMBERS and nullable:
        return {"anyOf": [{"type": ["number", "boolean", "null"]}, {"enum": WORDS}]}
    own = {key: lenient(part) for key, part in schema.items() if key not in ("format", "nullable")}
    return {"anyOf": [own, {"type": "null"}]} if nullable else own


@functools.cache
def validator(document, pointer):
    """What the door takes where a document has a schema."""
    whole = lenient(json.loads(document))
    schemas = whole["components"]["schemas"]
    schemas["CallParameters"] = {"anyOf": [schemas["CallParameters"], {"type": "null"}]}
    if "Row" in schemas:
        width = len(schemas["Row"]["properties"])
        array = {"type": "array", "items": CELL, "minItems": width, "maxItems": width}
        schemas["Row"] = {"anyOf": [schemas["Row"], array, *([CELL] if width == 1 else [])]}
    return jsonschema_rs.validator_for({"$ref": f"#{pointer}", "components": whole["components"], "paths": whole["paths"]})


def taken_anyway(case):
    """Whether the one thing that is wrong with a call is one that the door takes on purpose."""
    wrong = [part for part, how in case.meta.components.items() if how.mode == GenerationMode.NEGATIVE]
    if wrong == [ParameterLocation.HEADER]:
        return milliseconds(case) is not None
    if wrong != [ParameterLocation.BODY]:
        return False
    document = json.dumps(case.operation.schema.raw_schema)
    path = case.operation.path.replace("~", "~0").replace("/", "~1").replace("{", "%7B").replace("}", "%7D")
    pointer = f"/paths/{path}/{case.method.lower()}/requestBody/content/application~1json/schema"
    try:
        return validator(document, pointer).is_valid(case.body)
    except ValueError:
        return False


def milliseconds(case):
    """The time that a call gives, where it gives one."""
    given = str((case.headers or {}).get(TIMEOUT, ""))
    return int(given) if given.isascii() and given.isdigit() and 0 < int(given) < 2**64 else None


@schemathesis.hook
def before_call(context, case, kwargs):
    """Gives every call time enough: that a millisecond is too short says nothing."""
    given = milliseconds(case)
    if given is not None and given < ENOUGH_MS:
        case.headers[TIMEOUT] = str(ENOUGH_MS)


@schemathesis.hook
def filter_failure(context, failure, case, response):
    """Whether a failure is one."""
    if response.headers.get("x-headgate-error") == ["model_failed"]:
        return False
    if isinstance(failure, AcceptedNegativeData):
        return not taken_anyway(case)
    if isinstance(failure, RejectedPositiveData):
        said = response.json().get("error", "")
        operation = case.operation.definition.raw
        is_typed = operation["operationId"] == "predictModel" and "{" not in case.operation.path
        is_question = "prediction" not in operation["tags"]
        return (is_typed or is_question) and not any(words in said for words in UNSAID)
    return True
