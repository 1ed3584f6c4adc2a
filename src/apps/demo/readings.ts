// The sensor's data set and its typed channel: daily weather of a city, one row a message.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import * as Schema from "effect/Schema";
import { defineChannel } from "../../index.ts";
import { CHANNELS } from "./roles.ts";

export const Reading = Schema.Struct({
  date: Schema.String,
  precipitation: Schema.Number,
  temperatureMax: Schema.Number,
  temperatureMin: Schema.Number,
  wind: Schema.Number,
  weather: Schema.String,
});
export type Reading = typeof Reading.Type;

export const readingsChannel = defineChannel({
  channel: CHANNELS.readings,
  schema: Schema.toStandardSchemaV1(Reading),
});

/** Of no day: sent before the data set, and not counted. */
export const GREETING: Reading = {
  date: "",
  precipitation: 0,
  temperatureMax: 0,
  temperatureMin: 0,
  wind: 0,
  weather: "",
};

/** Rows of vega-datasets' seattle-weather.csv: date, precipitation, temp_max, temp_min, wind, weather. */
export function loadReadings(): Reading[] {
  // The package exports its code only; its data lies beside it.
  const file = join(dirname(createRequire(import.meta.url).resolve("vega-datasets")), "../data/seattle-weather.csv");
  const [, ...lines] = readFileSync(file, "utf8").trim().split("\n");
  return lines.map((line) => {
    const [date = "", precipitation, temperatureMax, temperatureMin, wind, weather = ""] = line.trim().split(",");
    return {
      date,
      precipitation: Number(precipitation),
      temperatureMax: Number(temperatureMax),
      temperatureMin: Number(temperatureMin),
      wind: Number(wind),
      weather,
    };
  });
}
