/**
 * Asks a Headgate over gRPC, with types that proto-loader generated, and checks what it says.
 *
 * usage: grpc.js ADDRESS EXPECTED.json    (the exit code says whether all was as expected)
 */
import { join } from "node:path";
import { ServiceError, credentials, loadPackageDefinition, status } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { Expected, check, checkScores, columns, read } from "./expected";
import type { GRPCInferenceServiceClient } from "./inference/inference/GRPCInferenceService";
import type { ModelInferRequest } from "./inference/inference/ModelInferRequest";
import type { ModelInferResponse__Output } from "./inference/inference/ModelInferResponse";
import type { ProtoGrpcType } from "./inference/inference";

async function main(address: string, file: string): Promise<void> {
  const want: Expected = read(file);
  const definition = loadSync(join(__dirname, "..", "inference.proto"), {
    keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true,
  });
  const { inference } = loadPackageDefinition(definition) as unknown as ProtoGrpcType;
  const client = new inference.GRPCInferenceService(address, credentials.createInsecure());
  try {
    await ask(client, want);
  } finally {
    client.close();
  }
}

async function ask(client: GRPCInferenceServiceClient, want: Expected): Promise<void> {
  const ready = await call(client.serverReady.bind(client), {});
  check(ready.ready, "the server is not ready");
  const metadata = await call(client.modelMetadata.bind(client), { name: want.model });
  const names = metadata.inputs.map((input) => input.name);
  check(names.join() === want.inputs.join(), `metadata: inputs ${want.inputs} expected, not ${names}`);

  const infer = (request: ModelInferRequest) => call(client.modelInfer.bind(client), request);
  const typed = typedRequest(want);
  checkScores(want, "typed", scoresOf(await infer(typed), want.output));
  const reply = await infer(rawRequest(want));
  check(reply.raw_output_contents.length > 0, "asked in raw contents, the reply has none");
  checkScores(want, "raw", scoresOf(reply, want.output));

  await refused(status.NOT_FOUND, want.unknown, infer({ ...typed, model_name: want.unknown }));
  const [first, ...others] = typed.inputs ?? [];
  const lying = { ...typed, inputs: [{ ...first, shape: [want.rows.length + 1] }, ...others] };
  await refused(status.INVALID_ARGUMENT, String(first.name), infer(lying));
}

/** One input a feature, its values as the message's own fields. */
function typedRequest(want: Expected): ModelInferRequest {
  const inputs = columns(want).map(({ name, datatype, values }) => ({
    name, datatype, shape: [values.length],
    contents: datatype === "BYTES"
      ? { bytes_contents: values.map(text) }
      : { fp64_contents: values.map(number) },
  }));
  return { model_name: want.model, inputs };
}

/** The same in raw contents: little-endian numbers; texts with their lengths before them. */
function rawRequest(want: Expected): ModelInferRequest {
  const all = columns(want);
  const inputs = all.map(({ name, datatype, values }) => ({ name, datatype, shape: [values.length] }));
  const raw = all.map(({ datatype, values }) => Buffer.concat(values.map((value) => {
    const head = Buffer.alloc(datatype === "BYTES" ? 4 : 8);
    if (datatype === "BYTES") head.writeUInt32LE(text(value).length);
    else head.writeDoubleLE(number(value));
    return datatype === "BYTES" ? Buffer.concat([head, text(value)]) : head;
  })));
  return { model_name: want.model, inputs, raw_input_contents: raw };
}

/** What is missing is NaN, and the empty text. */
function number(value: number | string | null): number {
  return value === null ? NaN : Number(value);
}

function text(value: number | string | null): Buffer {
  return Buffer.from(String(value ?? ""));
}

function scoresOf(reply: ModelInferResponse__Output, name: string): number[] {
  const at = reply.outputs.findIndex((output) => output.name === name);
  check(at >= 0, `the reply has no output '${name}'`);
  if (reply.raw_output_contents.length === 0) return reply.outputs[at].contents?.fp64_contents as number[];
  const raw = reply.raw_output_contents[at];
  return Array.from({ length: raw.length / 8 }, (_, row) => raw.readDoubleLE(row * 8));
}

type Method<Request, Reply> = (request: Request, then: (error: ServiceError | null, reply?: Reply) => void) => unknown;

function call<Request, Reply>(method: Method<Request, Reply>, request: Request): Promise<Reply> {
  return new Promise((resolve, reject) => {
    method(request, (error, reply) => (error ? reject(error) : resolve(reply!)));
  });
}

/** A call that must fail, in words that say `named`. */
async function refused(code: status, named: string, answer: Promise<unknown>): Promise<void> {
  const error: ServiceError = await answer.then(() => undefined, (error) => error);
  check(error?.code === code && error.details.includes(named), `${status[code]} that names ${named} expected, not ${error}`);
}

main(process.argv[2], process.argv[3]).catch((error) => {
  console.error(error);
  process.exit(1);
});
