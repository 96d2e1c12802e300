// Asks for scores of the model `bank` with a client that openapi-generator wrote from the model's own document: its
// features are fields.
//
// usage: model ADDRESS EXPECTED.json    (the exit code says whether all was as expected)
package main

import (
	"context"
	"log"
	"os"
	"time"

	"headgate/bank"
	"headgate/expected"
)

func main() {
	log.SetFlags(0)
	want, err := expected.Read(os.Args[2])
	check(err)
	configuration := bank.NewConfiguration()
	configuration.Servers = bank.ServerConfigurations{{URL: "http://" + os.Args[1]}}
	client := bank.NewAPIClient(configuration)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()

	rows := []bank.Row{}
	for _, row := range want.Rows {
		rows = append(rows, bank.Row{
			Age:      number(row["age"]),
			Balance:  number(row["balance"]),
			Campaign: number(row["campaign"]),
			Job:      text(row["job"]),
		})
	}
	request := bank.PredictRequest{Instances: rows}
	reply, _, err := client.PredictionAPI.PredictModel(ctx).PredictRequest(request).Execute()
	check(err)
	scores := []float64{}
	for _, score := range reply.Predictions {
		scores = append(scores, *score)
	}
	check(want.CheckScores("predict", scores))
	parameters := bank.CallParameters{}
	parameters.SetContributions(true)
	request.Parameters = &parameters
	reply, _, err = client.PredictionAPI.PredictModel(ctx).PredictRequest(request).Execute()
	check(err)
	if len(reply.Contributions) != len(rows) || len(reply.Contributions[0]) != len(want.Inputs)+1 {
		log.Fatalf("contributions of each feature and the bias expected, not %v", reply.Contributions)
	}
}

func number(value any) bank.NullableFloat64 {
	if number, ok := value.(float64); ok {
		return *bank.NewNullableFloat64(&number)
	}
	return *bank.NewNullableFloat64(nil)
}

func text(value any) bank.NullableString {
	if text, ok := value.(string); ok {
		return *bank.NewNullableString(&text)
	}
	return *bank.NewNullableString(nil)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
