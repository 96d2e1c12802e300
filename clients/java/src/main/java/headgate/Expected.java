package headgate;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * What a model must answer, as the runner wrote it.
 *
 * @param model a model that is served
 * @param unknown one that is not
 * @param inputs the names of the model's features, in order
 * @param rows numbers, texts or null (missing) by feature
 * @param output the output that has the scores
 * @param scores the rows' scores, to the bit
 */
public record Expected(
    String model, String unknown, List<String> inputs, List<Map<String, Object>> rows, String output, List<Double> scores) {

  /** One feature of all rows. */
  public record Column(String name, boolean text, List<Object> values) {
    public String datatype() {
      return text ? "BYTES" : "FP64";
    }
  }

  public static Expected read(String path) throws IOException {
    return new ObjectMapper().readValue(new File(path), Expected.class);
  }

  public List<Column> columns() {
    List<Column> columns = new ArrayList<>();
    for (String name : inputs) {
      List<Object> values = new ArrayList<>();
      rows.forEach(row -> values.add(row.get(name)));
      columns.add(new Column(name, values.stream().anyMatch(String.class::isInstance), values));
    }
    return columns;
  }

  public void checkInputs(List<String> names) {
    check(names.equals(inputs), "metadata: inputs " + inputs + " expected, not " + names);
  }

  public void checkScores(String how, List<Double> got) {
    check(got.equals(scores), how + ": scores " + scores + " expected, not " + got);
  }

  public static void check(boolean fine, String words) {
    if (!fine) {
      throw new IllegalStateException(words);
    }
  }
}
