/** What a model must answer, as the runner wrote it. */
import { readFileSync } from "node:fs";

/** A model, rows, and their scores, to the bit. */
export interface Expected {
  /** A model that is served, and one that is not. */
  model: string;
  unknown: string;
  /** The names of the model's features, in order. */
  inputs: string[];
  /** Numbers, texts or null (missing) by feature. */
  rows: Record<string, number | string | null>[];
  /** The output that has the scores. */
  output: string;
  scores: number[];
}

export interface Column {
  name: string;
  datatype: "FP64" | "BYTES";
  values: (number | string | null)[];
}

export function read(path: string): Expected {
  return JSON.parse(readFileSync(path, "utf8"));
}

export function columns(want: Expected): Column[] {
  return want.inputs.map((name) => {
    const values = want.rows.map((row) => row[name]);
    return { name, datatype: values.some((value) => typeof value === "string") ? "BYTES" : "FP64", values };
  });
}

export function check(fine: boolean, words: string): void {
  if (!fine) throw new Error(words);
}

export function checkScores(want: Expected, how: string, scores: number[]): void {
  const same = scores.length === want.scores.length && scores.every((score, row) => score === want.scores[row]);
  check(same, `${how}: scores ${want.scores} expected, not ${scores}`);
}
