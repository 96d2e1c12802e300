package headgate;

import static headgate.Expected.check;

import com.google.protobuf.ByteString;
import inference.GRPCInferenceServiceGrpc;
import inference.GRPCInferenceServiceGrpc.GRPCInferenceServiceBlockingStub;
import inference.InferTensorContents;
import inference.ModelInferRequest;
import inference.ModelInferRequest.InferInputTensor;
import inference.ModelInferResponse;
import inference.ModelMetadataRequest;
import inference.ModelMetadataResponse.TensorMetadata;
import inference.ServerReadyRequest;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.DoubleBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * Asks a Headgate over gRPC, with a client that protoc generated, and checks what it says.
 *
 * <p>usage: Grpc ADDRESS EXPECTED.json (the exit code says whether all was as expected)
 */
public final class Grpc {
  public static void main(String[] arguments) throws Exception {
    Expected want = Expected.read(arguments[1]);
    ManagedChannel channel = io.grpc.Grpc.newChannelBuilder(arguments[0], InsecureChannelCredentials.create()).build();
    try {
      ask(GRPCInferenceServiceGrpc.newBlockingStub(channel), want);
    } finally {
      channel.shutdown().awaitTermination(5, TimeUnit.SECONDS);
    }
  }

  private static void ask(GRPCInferenceServiceBlockingStub unbounded, Expected want) {
    GRPCInferenceServiceBlockingStub client = unbounded.withDeadlineAfter(30, TimeUnit.SECONDS);
    check(client.serverReady(ServerReadyRequest.getDefaultInstance()).getReady(), "the server is not ready");
    ModelMetadataRequest about = ModelMetadataRequest.newBuilder().setName(want.model()).build();
    want.checkInputs(client.modelMetadata(about).getInputsList().stream().map(TensorMetadata::getName).toList());

    ModelInferRequest typed = typedRequest(want);
    want.checkScores("typed", scoresOf(client.modelInfer(typed), want.output()));
    ModelInferResponse reply = client.modelInfer(rawRequest(want));
    check(reply.getRawOutputContentsCount() > 0, "asked in raw contents, the reply has none");
    want.checkScores("raw", scoresOf(reply, want.output()));

    refused(Status.Code.NOT_FOUND, want.unknown(), client, typed.toBuilder().setModelName(want.unknown()));
    ModelInferRequest.Builder lying = typed.toBuilder();
    lying.getInputsBuilder(0).setShape(0, want.rows().size() + 1);
    refused(Status.Code.INVALID_ARGUMENT, lying.getInputs(0).getName(), client, lying);
  }

  /** One input a feature, its values as the message's own fields. */
  private static ModelInferRequest typedRequest(Expected want) {
    ModelInferRequest.Builder request = ModelInferRequest.newBuilder().setModelName(want.model());
    for (Expected.Column column : want.columns()) {
      InferTensorContents.Builder contents = InferTensorContents.newBuilder();
      for (Object value : column.values()) {
        if (column.text()) {
          contents.addBytesContents(ByteString.copyFromUtf8(text(value)));
        } else {
          contents.addFp64Contents(number(value));
        }
      }
      request.addInputs(tensor(column).setContents(contents));
    }
    return request.build();
  }

  /** The same in raw contents: little-endian numbers; texts with their lengths before them. */
  private static ModelInferRequest rawRequest(Expected want) {
    ModelInferRequest.Builder request = ModelInferRequest.newBuilder().setModelName(want.model());
    for (Expected.Column column : want.columns()) {
      ByteString raw = ByteString.EMPTY;
      for (Object value : column.values()) {
        byte[] text = column.text() ? text(value).getBytes(StandardCharsets.UTF_8) : new byte[0];
        ByteBuffer bytes = ByteBuffer.allocate(column.text() ? 4 + text.length : 8).order(ByteOrder.LITTLE_ENDIAN);
        if (column.text()) {
          bytes.putInt(text.length).put(text);
        } else {
          bytes.putDouble(number(value));
        }
        raw = raw.concat(ByteString.copyFrom(bytes.array()));
      }
      request.addInputs(tensor(column)).addRawInputContents(raw);
    }
    return request.build();
  }

  private static InferInputTensor.Builder tensor(Expected.Column column) {
    int rows = column.values().size();
    return InferInputTensor.newBuilder().setName(column.name()).setDatatype(column.datatype()).addShape(rows);
  }

  /** What is missing is NaN, and the empty text. */
  private static double number(Object value) {
    return value == null ? Double.NaN : ((Number) value).doubleValue();
  }

  private static String text(Object value) {
    return value == null ? "" : (String) value;
  }

  private static List<Double> scoresOf(ModelInferResponse reply, String name) {
    for (int at = 0; at < reply.getOutputsCount(); at++) {
      if (!reply.getOutputs(at).getName().equals(name)) {
        continue;
      }
      if (reply.getRawOutputContentsCount() == 0) {
        return reply.getOutputs(at).getContents().getFp64ContentsList();
      }
      ByteBuffer raw = reply.getRawOutputContents(at).asReadOnlyByteBuffer().order(ByteOrder.LITTLE_ENDIAN);
      List<Double> scores = new ArrayList<>();
      for (DoubleBuffer numbers = raw.asDoubleBuffer(); numbers.hasRemaining(); ) {
        scores.add(numbers.get());
      }
      return scores;
    }
    throw new IllegalStateException("the reply has no output " + name);
  }

  /** A call that must fail, in words that say `named`. */
  private static void refused(
      Status.Code code, String named, GRPCInferenceServiceBlockingStub client, ModelInferRequest.Builder request) {
    try {
      client.modelInfer(request.build());
    } catch (StatusRuntimeException error) {
      String words = String.valueOf(error.getStatus().getDescription());
      boolean fine = error.getStatus().getCode() == code && words.contains(named);
      check(fine, code + " that names " + named + " expected, not " + error.getStatus());
      return;
    }
    throw new IllegalStateException(code + " expected, not an answer");
  }
}
