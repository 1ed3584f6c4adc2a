// How the two runtimes of a benchmark find each other: one peer each, greeted often.

/** Of a runtime's configuration: its address, its peer's, and the port of both. */
export const towards = (address: string, peer: string, port: number) => ({
  address,
  port,
  peers: [`${peer}:${port}`],
  helloIntervalMs: 100,
});
