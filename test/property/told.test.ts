// What was said once is not said again, as long as not more than that is remembered.
import { expect, it } from "vitest";
import { Told } from "../../src/runtime/told.ts";

it("what has been told is told once, and only the oldest is forgotten", () => {
  const told = new Told();
  for (let i = 0; i < 1024; i++) expect(told.first(`${i}`)).toBe(true);
  for (let i = 0; i < 1024; i++) expect(told.first(`${i}`)).toBe(false);
  expect(told.first("one more")).toBe(true);
  expect(told.first("1")).toBe(false);
  expect(told.first("0")).toBe(true);
});
