package headgate;

import static headgate.Expected.check;

import headgate.bank.ApiClient;
import headgate.bank.api.PredictionApi;
import headgate.bank.model.CallParameters;
import headgate.bank.model.PredictRequest;
import headgate.bank.model.Row;
import java.util.List;
import java.util.Map;

/**
 * Asks for scores of the model `bank` with a client that openapi-generator wrote from the model's own document: its
 * features are properties.
 *
 * <p>usage: OneModel ADDRESS EXPECTED.json (the exit code says whether all was as expected)
 */
public final class OneModel {
  public static void main(String[] arguments) throws Exception {
    Expected want = Expected.read(arguments[1]);
    ApiClient client = new ApiClient();
    client.updateBaseUri("http://" + arguments[0]);
    PredictionApi prediction = new PredictionApi(client);
    PredictRequest request = new PredictRequest().instances(want.rows().stream().map(OneModel::row).toList());
    want.checkScores("predict", prediction.predictModel(request, null, null).getPredictions());
    request.setParameters(new CallParameters().contributions(true));
    List<List<Double>> contributions = prediction.predictModel(request, null, null).getContributions();
    int columns = want.inputs().size() + 1;
    boolean fine = contributions.size() == want.rows().size() && contributions.get(0).size() == columns;
    check(fine, "contributions of each feature and the bias expected, not " + contributions);
  }

  private static Row row(Map<String, Object> row) {
    return new Row()
        .age((Double) row.get("age"))
        .balance((Double) row.get("balance"))
        .campaign((Double) row.get("campaign"))
        .job((String) row.get("job"));
  }
}
