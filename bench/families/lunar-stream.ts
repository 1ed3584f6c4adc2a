// lunar-stream: raw frames from HD to 8K, on one host and between two over each datapath, beside sendfile over TCP on the same
// veth (paper, figure 11). Frames a second flat out, and the latency of a frame when they come with pauses, as from a camera.
import { startDaemon } from "../insane/daemon.ts";
import { frameSide, RDMA_PROVIDER } from "../insane/network.ts";
import type { Point, System } from "../runner/benchmark.ts";
import { measurePair, nativeProgram, nativeUnavailable, nodeProgram, onHost } from "../runner/hosts.ts";
import { type Launch, withPrograms } from "../runner/processes.ts";
import { frameLatency, frameRate } from "../runner/readings.ts";
import { socketFolder } from "../runner/socket-folder.ts";
import { PORT, type Topology } from "../runner/topology.ts";
import { betweenHosts } from "./between-hosts.ts";

/** Pictures of the paper's table 4, RGB; `fps` of the run for latency. */
const FRAMES = [
  { name: "hd", width: 1280, height: 720, fps: 25 },
  { name: "fullhd", width: 1920, height: 1080, fps: 25 },
  { name: "2k", width: 2560, height: 1510, fps: 25 },
  { name: "4k", width: 3840, height: 2160, fps: 25 },
  { name: "8k", width: 7680, height: 4320, fps: 8 },
] as const;
const bytesOf = ({ width, height }: (typeof FRAMES)[number]): number => width * height * 3;

const frameOf = (payload: number) => FRAMES.find((frame) => bytesOf(frame) === payload) as (typeof FRAMES)[number];
const keysAt = (payload: number) => ({ frame: frameOf(payload).name });

/** Both runs of a point: the rate without pauses, the latency with. */
async function both(point: Point, run: (fps: number) => Promise<Record<string, number>>) {
  return [...frameRate(await run(0)), ...frameLatency(await run(frameOf(point.payload).fps))];
}

/** `read`: its receiver looks at every byte of a frame as well. */
function sendfile({ a, b }: Topology, read = false): System {
  return {
    system: "sendfile",
    datapath: "tcp",
    mode: read ? "read" : "block",
    keysAt,
    threads: "none spin: sender on core 0, receiver on core 1",
    unavailable: nativeUnavailable("tcp_sendfile"),
    measure: (point) =>
      both(point, (fps) => {
        const program = nativeProgram("tcp_sendfile");
        const { payload, warmup, seconds } = point;
        const looks = read ? ["read"] : [];
        const far = onHost(b, "sendfile", program, ["receive", b.address, PORT, payload, warmup, seconds, ...looks]);
        return measurePair(point, far, onHost(a, "sendfile", program, ["send", b.address, PORT, payload, fps]), "far");
      }),
  };
}

type Datapath = "udp" | "xdp" | "dpdk" | "rdma";

function network({ a, b }: Topology, datapath: Datapath): System {
  return {
    system: "insane",
    datapath,
    mode: datapath,
    keysAt,
    threads: `none spin: application and engine of a side share its core (0, 1), both park${
      datapath === "dpdk" || datapath === "rdma" ? " as far as the datapath lets them" : ""
    }${datapath === "rdma" ? `; libfabric's provider ${RDMA_PROVIDER}` : ""}`,
    measure: (point) =>
      both(point, (fps) => {
        const { width, height } = frameOf(point.payload);
        const rest = ["park", "still", width, height, fps, point.warmup, point.seconds];
        const near = frameSide(datapath, a, b, ["near", ...rest]);
        return measurePair(point, near, frameSide(datapath, b, a, ["far", ...rest]), "near");
      }),
  };
}

/**
 * `still`: neither application touches the pixels, beside `sendfile`. `read`: the viewer looks at every byte where it lies, beside
 * `sendfile` `read`. `copied`: the viewer has each in memory of its own, which an application on one host need not do. `written`: drawn
 * anew and copied, for which sendfile has no counterpart: its file is written once.
 */
function coLocated(how: "still" | "read" | "copied" | "written"): System {
  return {
    system: "insane",
    datapath: "shm",
    mode: how === "still" ? "co-located" : `co-located-${how}`,
    keysAt,
    threads: "1 spins: server on core 0, viewer on core 1; the daemon is parked",
    measure: (point) =>
      both(point, (fps) =>
        withPrograms(async (start) => {
          const folder = socketFolder();
          try {
            const daemon = await startDaemon(start, folder.path, { core: 0 }, { network: { enabled: false } });
            const { width, height } = frameOf(point.payload);
            const side = (role: "near" | "far", core: number): Launch => ({
              name: `lunar-stream ${role}`,
              core,
              program: process.execPath,
              args: [
                nodeProgram("bench/insane/stream"),
                "attach",
                daemon.socket,
                ...[role, "spin", how, width, height, fps, point.warmup, point.seconds],
              ],
            });
            const server = start(side("near", 0));
            await server.ready();
            return await start(side("far", 1)).result(point.warmup + point.seconds, server, daemon.program);
          } finally {
            folder.remove();
          }
        }),
      ),
  };
}

export const lunarStream = betweenHosts(
  {
    name: "lunar-stream",
    summary: "raw frames from HD to 8K: frames a second, and latency of a frame, on one host and over each datapath",
    payloads: FRAMES.map(bytesOf),
    payloadNames: Object.fromEntries(FRAMES.map((frame) => [frame.name, bytesOf(frame)])),
    compared: ["fps", "frame-latency"],
  },
  (topology) => [
    ...(["udp", "xdp", "dpdk", "rdma"] as const).map((datapath) => network(topology, datapath)),
    coLocated("still"),
    coLocated("read"),
    coLocated("copied"),
    coLocated("written"),
    sendfile(topology),
    sendfile(topology, true),
  ],
);
