/**
 * Asks a Headgate over HTTP, with a client that openapi-generator wrote from its document, and checks what it says.
 *
 * usage: openapi.js ADDRESS EXPECTED.json    (the exit code says whether all was as expected)
 */
import { Column, Expected, check, checkScores, columns, read } from "./expected";
import { Configuration, ErrorBodyFromJSON, InferRequest, ModelsApi, PredictionApi, ResponseError, ServerApi } from "./rest";

async function main(address: string, file: string): Promise<void> {
  const want: Expected = read(file);
  const configuration = new Configuration({ basePath: `http://${address}` });
  const model = want.model;
  check((await new ServerApi(configuration).getServerReady()).ready, "the server is not ready");
  const metadata = await new ModelsApi(configuration).getModelMetadata({ model });
  const names = metadata.inputs.map((input) => input.name);
  check(names.join() === want.inputs.join(), `metadata: inputs ${want.inputs} expected, not ${names}`);

  const prediction = new PredictionApi(configuration);
  const predicted = await prediction.predictModelRaw({ model, predictRequest: { instances: want.rows } });
  checkScores(want, "predict", (await predicted.value()).predictions as number[]);
  check(predicted.raw.headers.has("x-headgate-version"), "the reply does not say which version answered");

  const rows = want.rows.length;
  const inferRequest: InferRequest = {
    inputs: columns(want).map(({ name, datatype, values }: Column) => ({ name, shape: [rows], datatype, data: values })),
  };
  const [output] = (await prediction.inferModel({ model, inferRequest })).outputs;
  check(output.name === want.output, `output ${want.output} expected, not ${output.name}`);
  checkScores(want, "infer", output.data as number[]);

  await refused(404, want.unknown, prediction.inferModel({ model: want.unknown, inferRequest }));
  inferRequest.inputs[0].shape = [rows + 1];
  await refused(400, inferRequest.inputs[0].name, prediction.inferModel({ model, inferRequest }));
}

/** A call that must fail, in words that say `named`. */
async function refused(status: number, named: string, call: Promise<unknown>): Promise<void> {
  const error = await call.then(() => undefined, (error: unknown) => error);
  if (!(error instanceof ResponseError)) throw new Error(`${status} expected, not ${error}`);
  const words = ErrorBodyFromJSON(await error.response.json()).error;
  const fine = error.response.status === status && words.includes(named);
  check(fine, `${status} that names ${named} expected, not ${error.response.status} '${words}'`);
}

main(process.argv[2], process.argv[3]).catch((error) => {
  console.error(error);
  process.exit(1);
});
