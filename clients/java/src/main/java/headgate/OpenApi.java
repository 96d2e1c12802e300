package headgate;

import static headgate.Expected.check;

import com.fasterxml.jackson.databind.ObjectMapper;
import headgate.rest.ApiClient;
import headgate.rest.ApiException;
import headgate.rest.ApiResponse;
import headgate.rest.api.ModelsApi;
import headgate.rest.api.PredictionApi;
import headgate.rest.api.ServerApi;
import headgate.rest.model.Datatype;
import headgate.rest.model.ErrorBody;
import headgate.rest.model.InferInput;
import headgate.rest.model.InferOutput;
import headgate.rest.model.InferRequest;
import headgate.rest.model.PredictRequest;
import headgate.rest.model.PredictResponse;
import headgate.rest.model.TensorMetadata;
import java.util.ArrayList;
import java.util.List;

/**
 * Asks a Headgate over HTTP, with a client that openapi-generator wrote from its document, and checks what it says.
 *
 * <p>usage: OpenApi ADDRESS EXPECTED.json (the exit code says whether all was as expected)
 */
public final class OpenApi {
  public static void main(String[] arguments) throws Exception {
    Expected want = Expected.read(arguments[1]);
    ApiClient client = new ApiClient();
    client.updateBaseUri("http://" + arguments[0]);
    check(new ServerApi(client).getServerReady().getReady(), "the server is not ready");
    List<TensorMetadata> inputs = new ModelsApi(client).getModelMetadata(want.model()).getInputs();
    want.checkInputs(inputs.stream().map(TensorMetadata::getName).toList());

    PredictionApi prediction = new PredictionApi(client);
    PredictRequest predict = new PredictRequest().instances(new ArrayList<>(want.rows()));
    ApiResponse<PredictResponse> predicted = prediction.predictModelWithHttpInfo(want.model(), predict, null, null);
    want.checkScores("predict", numbers(predicted.getData().getPredictions()));
    check(predicted.getHeaders().containsKey("x-headgate-version"), "the reply does not say which version answered");

    InferRequest infer = new InferRequest();
    long rows = want.rows().size();
    for (Expected.Column column : want.columns()) {
      Datatype datatype = Datatype.fromValue(column.datatype());
      infer.addInputsItem(
          new InferInput().name(column.name()).datatype(datatype).addShapeItem(rows).data(column.values()));
    }
    InferOutput output = prediction.inferModel(want.model(), infer, null, null).getOutputs().get(0);
    check(output.getName().equals(want.output()), "output " + want.output() + " expected, not " + output.getName());
    want.checkScores("infer", numbers(output.getData()));

    refused(404, want.unknown(), () -> prediction.inferModel(want.unknown(), infer, null, null));
    InferInput first = infer.getInputs().get(0);
    first.setShape(List.of(rows + 1));
    refused(400, first.getName(), () -> prediction.inferModel(want.model(), infer, null, null));
  }

  private static List<Double> numbers(List<Object> values) {
    return values.stream().map(value -> ((Number) value).doubleValue()).toList();
  }

  private interface Call {
    void make() throws ApiException;
  }

  /** A call that must fail, in words that say `named`. */
  private static void refused(int status, String named, Call call) throws Exception {
    try {
      call.make();
    } catch (ApiException error) {
      String words = new ObjectMapper().readValue(error.getResponseBody(), ErrorBody.class).getError();
      boolean fine = error.getCode() == status && words.contains(named);
      check(fine, status + " that names " + named + " expected, not " + error.getCode() + " '" + words + "'");
      return;
    }
    throw new IllegalStateException(status + " expected, not an answer");
  }
}
