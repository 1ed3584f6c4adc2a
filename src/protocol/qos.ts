// Quality of service as applications state it (paper, section 5.2), its defaults, and the identity of a stream that
// follows from it. Pure; used by clients and runtime alike.
import { POOL } from "./layout.ts";

/** Does the flow need more than the kernel's network stack? */
export type Acceleration = "none" | "fast";
/** May a datapath spend cores on polling ("high"), or is resource usage a concern ("low")? */
export type Consumption = "low" | "high";
/** FIFO, or the time-aware scheduler (IEEE 802.1Qbv). */
export type TimeSensitivity = "best-effort" | "time-sensitive";

export interface Qos {
  readonly acceleration: Acceleration;
  readonly consumption: Consumption;
  readonly timeSensitivity: TimeSensitivity;
  /** Largest message in bytes, 1 to 134,217,728. */
  readonly maxMessage: number;
  /** Of a time-sensitive stream: its traffic class in the host's gate schedule, 1 to 7. Left out: 7. */
  readonly trafficClass?: number;
  /** Small messages that are ready at the same time share a datagram; false: each leaves by itself. Left out: true. */
  readonly batching?: boolean;
}

/** That of time-sensitive streams which name none; best effort is class 0. */
export const DEFAULT_TRAFFIC_CLASS = 7;

export const DEFAULT_QOS: Qos = {
  acceleration: "none",
  consumption: "low",
  timeSensitivity: "best-effort",
  maxMessage: POOL.DEFAULT_MAX_MESSAGE,
};

/** The technologies in the order in which they are listed everywhere. Shared memory serves co-located endpoints. */
export const TECHNOLOGIES = ["shm", "udp", "xdp", "dpdk", "rdma"] as const;
export type Technology = (typeof TECHNOLOGIES)[number];
/** Those that cross hosts. */
export type NetworkTechnology = Exclude<Technology, "shm">;

export const completeQos = (qos: Partial<Qos> = {}): Qos => ({ ...DEFAULT_QOS, ...qos });

/** Same quality, same stream: the name of a stream that was given none. */
export const defaultStreamName = (qos: Qos): string =>
  `qos/${qos.acceleration}/${qos.consumption}/${qos.timeSensitivity}/${qos.maxMessage}${
    qos.trafficClass === undefined ? "" : `/class-${qos.trafficClass}`
  }${qos.batching === false ? "/alone" : ""}`;

/** Whether messages of that quality share datagrams: of time-sensitive streams each has its own, as its window was promised. */
export const batches = (qos: Qos): boolean => qos.batching !== false && qos.timeSensitivity === "best-effort";

const encoder = new TextEncoder();

/** 32-bit FNV-1a of the stream's name, as it travels on the wire; collisions are refused at the hello. */
export const streamTag = (name: string): number => {
  let hash = 0x811c9dc5;
  for (const byte of encoder.encode(name)) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash >>> 0;
};
