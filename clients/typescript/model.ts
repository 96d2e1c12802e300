/**
 * Asks for scores of the model `bank` with a client that openapi-generator wrote from the model's own document: its
 * features are properties.
 *
 * usage: model.js ADDRESS EXPECTED.json    (the exit code says whether all was as expected)
 */
import { Configuration, PredictionApi, Row } from "./bank";
import { check, checkScores, read } from "./expected";

async function main(address: string, file: string): Promise<void> {
  const want = read(file);
  const prediction = new PredictionApi(new Configuration({ basePath: `http://${address}` }));
  const instances: Row[] = want.rows.map(({ age, balance, campaign, job }) => ({
    age: age as number | null,
    balance: balance as number | null,
    campaign: campaign as number | null,
    job: job as string | null,
  }));
  const { predictions } = await prediction.predictModel({ predictRequest: { instances } });
  checkScores(want, "predict", predictions as number[]);
  const parameters = { contributions: true };
  const { contributions } = await prediction.predictModel({ predictRequest: { instances, parameters } });
  const fine = contributions?.length === instances.length && contributions[0].length === want.inputs.length + 1;
  check(fine, `contributions of each feature and the bias expected, not ${contributions}`);
}

main(process.argv[2], process.argv[3]).catch((error) => {
  console.error(error);
  process.exit(1);
});
