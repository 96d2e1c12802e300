// Asks a Headgate over HTTP, with a client that openapi-generator wrote from its document, and checks what it says.
//
// usage: openapi ADDRESS EXPECTED.json    (the exit code says whether all was as expected)
package main

import (
	"context"
	"errors"
	"log"
	"os"
	"strings"
	"time"

	"headgate/expected"
	"headgate/rest"
)

func main() {
	log.SetFlags(0)
	want, err := expected.Read(os.Args[2])
	check(err)
	configuration := rest.NewConfiguration()
	configuration.Servers = rest.ServerConfigurations{{URL: "http://" + os.Args[1]}}
	client := rest.NewAPIClient(configuration)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	ready, _, err := client.ServerAPI.GetServerReady(ctx).Execute()
	check(err)
	if !ready.Ready {
		log.Fatal("the server is not ready")
	}
	metadata, _, err := client.ModelsAPI.GetModelMetadata(ctx, want.Model).Execute()
	check(err)
	names := []string{}
	for _, input := range metadata.Inputs {
		names = append(names, input.Name)
	}
	check(want.CheckInputs(names))

	predict := rest.PredictRequest{}
	for _, row := range want.Rows {
		predict.Instances = append(predict.Instances, row)
	}
	predicted, http, err := client.PredictionAPI.PredictModel(ctx, want.Model).PredictRequest(predict).Execute()
	check(err)
	check(want.CheckScores("predict", numbers(predicted.Predictions)))
	if http.Header.Get("x-headgate-version") == "" {
		log.Fatal("the reply does not say which version answered")
	}

	infer := rest.InferRequest{Inputs: []rest.InferInput{}}
	for _, column := range want.Columns() {
		shape := []int64{int64(len(want.Rows))}
		infer.Inputs = append(infer.Inputs, *rest.NewInferInput(column.Name, shape, rest.Datatype(column.Datatype), column.Values))
	}
	reply, _, err := client.PredictionAPI.InferModel(ctx, want.Model).InferRequest(infer).Execute()
	check(err)
	if reply.Outputs[0].Name != want.Output {
		log.Fatalf("output %q expected, not %q", want.Output, reply.Outputs[0].Name)
	}
	check(want.CheckScores("infer", numbers(reply.Outputs[0].Data)))

	_, http, err = client.PredictionAPI.InferModel(ctx, want.Unknown).InferRequest(infer).Execute()
	if words := wordsOf(err); http.StatusCode != 404 || !strings.Contains(words, want.Unknown) {
		log.Fatalf("an unknown model: 404 that names it expected, not %d %q", http.StatusCode, words)
	}
	infer.Inputs[0].Shape[0]++
	_, http, err = client.PredictionAPI.InferModel(ctx, want.Model).InferRequest(infer).Execute()
	if words := wordsOf(err); http.StatusCode != 400 || !strings.Contains(words, infer.Inputs[0].Name) {
		log.Fatalf("a shape that lies: 400 that names the input expected, not %d %q", http.StatusCode, words)
	}
}

// The words of an error, from its typed body.
func wordsOf(err error) string {
	var refused *rest.GenericOpenAPIError
	if !errors.As(err, &refused) {
		log.Fatalf("an error with a body expected, not %v", err)
	}
	body, ok := refused.Model().(rest.ErrorBody)
	if !ok {
		log.Fatalf("an error body expected, not %s", refused.Body())
	}
	return body.Error
}

func numbers(values []any) []float64 {
	numbers := []float64{}
	for _, value := range values {
		number, ok := value.(float64)
		if !ok {
			log.Fatalf("a number expected, not %v", value)
		}
		numbers = append(numbers, number)
	}
	return numbers
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
