// An application that is attached to a daemon and does nothing: attached.ts SOCKET CHANNEL. One session with a stream,
// a source and a sink; lives until it is killed.
import { connect } from "../../src/index.ts";
import { say } from "../peers/stopwatch.ts";
import { STREAM } from "./session.ts";

const [socket = "", channel] = process.argv.slice(2);
const session = await connect({ socket, name: `bench-idle-${channel}` });
const stream = await session.createStream({ name: STREAM });
await stream.createSource(Number(channel));
await stream.createSink(Number(channel), (message) => message.release());
say("ready");
setInterval(() => {}, 1 << 30);
