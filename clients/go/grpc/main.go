// Asks a Headgate over gRPC, with a client that protoc generated, and checks what it says.
//
// usage: grpc ADDRESS EXPECTED.json    (the exit code says whether all was as expected)
package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"log"
	"math"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"headgate/expected"
	"headgate/inference"
)

func main() {
	log.SetFlags(0)
	want, err := expected.Read(os.Args[2])
	check(err)
	connection, err := grpc.NewClient(os.Args[1], grpc.WithTransportCredentials(insecure.NewCredentials()))
	check(err)
	defer connection.Close()
	client := inference.NewGRPCInferenceServiceClient(connection)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	ready, err := client.ServerReady(ctx, &inference.ServerReadyRequest{})
	check(err)
	if !ready.Ready {
		log.Fatal("the server is not ready")
	}
	metadata, err := client.ModelMetadata(ctx, &inference.ModelMetadataRequest{Name: want.Model})
	check(err)
	names := []string{}
	for _, input := range metadata.Inputs {
		names = append(names, input.Name)
	}
	check(want.CheckInputs(names))

	typed, raw := typedRequest(want), rawRequest(want)
	reply, err := client.ModelInfer(ctx, typed)
	check(err)
	check(want.CheckScores("typed", scoresOf(reply, want.Output)))
	reply, err = client.ModelInfer(ctx, raw)
	check(err)
	if len(reply.RawOutputContents) == 0 {
		log.Fatal("asked in raw contents, the reply has none")
	}
	check(want.CheckScores("raw", scoresOf(reply, want.Output)))

	_, err = client.ModelInfer(ctx, &inference.ModelInferRequest{ModelName: want.Unknown, Inputs: typed.Inputs})
	if status.Code(err) != codes.NotFound || !strings.Contains(status.Convert(err).Message(), want.Unknown) {
		log.Fatalf("an unknown model: NOT_FOUND that names it expected, not %v", err)
	}
	typed.Inputs[0].Shape = []int64{int64(len(want.Rows)) + 1}
	_, err = client.ModelInfer(ctx, typed)
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(status.Convert(err).Message(), typed.Inputs[0].Name) {
		log.Fatalf("a shape that lies: INVALID_ARGUMENT that names the input expected, not %v", err)
	}
}

// One input a feature, its values as the message's own fields.
func typedRequest(want *expected.Expected) *inference.ModelInferRequest {
	request := &inference.ModelInferRequest{ModelName: want.Model}
	for _, column := range want.Columns() {
		contents := &inference.InferTensorContents{Fp64Contents: column.Numbers}
		for _, text := range column.Texts {
			contents.BytesContents = append(contents.BytesContents, []byte(text))
		}
		request.Inputs = append(request.Inputs, &inference.ModelInferRequest_InferInputTensor{
			Name: column.Name, Datatype: column.Datatype, Shape: []int64{int64(len(want.Rows))}, Contents: contents,
		})
	}
	return request
}

// The same in raw contents: little-endian numbers; texts with their lengths before them.
func rawRequest(want *expected.Expected) *inference.ModelInferRequest {
	request := &inference.ModelInferRequest{ModelName: want.Model}
	for _, column := range want.Columns() {
		raw := []byte{}
		for _, number := range column.Numbers {
			raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(number))
		}
		for _, text := range column.Texts {
			raw = append(binary.LittleEndian.AppendUint32(raw, uint32(len(text))), text...)
		}
		request.Inputs = append(request.Inputs, &inference.ModelInferRequest_InferInputTensor{
			Name: column.Name, Datatype: column.Datatype, Shape: []int64{int64(len(want.Rows))},
		})
		request.RawInputContents = append(request.RawInputContents, raw)
	}
	return request
}

func scoresOf(reply *inference.ModelInferResponse, name string) []float64 {
	for i, output := range reply.Outputs {
		if output.Name != name {
			continue
		}
		if len(reply.RawOutputContents) == 0 {
			return output.Contents.Fp64Contents
		}
		scores := []float64{}
		for raw := reply.RawOutputContents[i]; len(raw) >= 8; raw = raw[8:] {
			scores = append(scores, math.Float64frombits(binary.LittleEndian.Uint64(raw)))
		}
		return scores
	}
	panic(fmt.Sprintf("the reply has no output %q", name))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
