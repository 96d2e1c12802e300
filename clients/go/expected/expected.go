// Package expected holds what a model must answer, as the runner wrote it.
package expected

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
)

// Expected is a model, rows, and their scores.
type Expected struct {
	// Model and Unknown are the names of a model that is served and of one that is not.
	Model, Unknown string
	// Inputs are the names of the model's features, in order.
	Inputs []string
	// Rows hold a number, a text or nil (missing) for each feature.
	Rows []map[string]any
	// Output is the output that has the scores.
	Output string
	// Scores are the rows', to the bit.
	Scores []float64
}

// Column is one feature of all rows. Typed clients have no nil: what is missing is NaN in Numbers, and empty in Texts.
type Column struct {
	Name, Datatype string
	Values         []any
	Numbers        []float64
	Texts          []string
}

// Read reads the runner's file.
func Read(path string) (*Expected, error) {
	bytes, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	want := &Expected{}
	return want, json.Unmarshal(bytes, want)
}

// Columns turns the rows.
func (want *Expected) Columns() []Column {
	columns := []Column{}
	for _, name := range want.Inputs {
		column := Column{Name: name, Datatype: "FP64"}
		numbers, texts := []float64{}, []string{}
		for _, row := range want.Rows {
			number, isNumber := row[name].(float64)
			text, isText := row[name].(string)
			if !isNumber {
				number = math.NaN()
			}
			if isText {
				column.Datatype = "BYTES"
			}
			column.Values, numbers, texts = append(column.Values, row[name]), append(numbers, number), append(texts, text)
		}
		if column.Datatype == "BYTES" {
			column.Texts = texts
		} else {
			column.Numbers = numbers
		}
		columns = append(columns, column)
	}
	return columns
}

// CheckInputs compares the names of the features that a server says.
func (want *Expected) CheckInputs(names []string) error {
	if !slices.Equal(names, want.Inputs) {
		return fmt.Errorf("metadata: inputs %v expected, not %v", want.Inputs, names)
	}
	return nil
}

// CheckScores compares scores.
func (want *Expected) CheckScores(how string, scores []float64) error {
	if !slices.Equal(scores, want.Scores) {
		return fmt.Errorf("%s: scores %v expected, not %v", how, want.Scores, scores)
	}
	return nil
}
