// The script of pages that show live streams, as browsers get it (/live.js). It draws pictures on canvases and tells the page
// the rest by events: "live:feeds", "live:statistics", "live:data", "live:picture", "live:wrong" and "live:state".

export const LIVE_SCRIPT = `"use strict";
{
  const PREFIX = 16;
  /** Pictures of each feed that are kept, for what is said of them later. */
  const KEPT = 24;
  const canvases = new Map();
  const kept = new Map();
  const tell = (what, detail) => document.dispatchEvent(new CustomEvent("live:" + what, { detail }));
  let socket;
  let patience = 250;

  /** The canvas that shows a feed; the page puts it where it wants. */
  window.live = {
    canvas(feed) {
      if (!canvases.has(feed)) canvases.set(feed, document.createElement("canvas"));
      return canvases.get(feed);
    },
    /** Of the frames that are shown. */
    number: [],
    /** The picture of a frame, while it is kept. */
    picture: (feed, number) => kept.get(feed)?.get(number),
  };

  async function draw(buffer) {
    const view = new DataView(buffer, 0, PREFIX);
    const feed = view.getUint32(0, true);
    const number = view.getUint32(8, true) * 2 ** 32 + view.getUint32(4, true);
    const picture = await createImageBitmap(new Blob([new Uint8Array(buffer, PREFIX)], { type: "image/jpeg" }));
    const canvas = window.live.canvas(feed);
    if (canvas.width !== picture.width || canvas.height !== picture.height) {
      canvas.width = picture.width;
      canvas.height = picture.height;
    }
    canvas.getContext("2d", { alpha: false }).drawImage(picture, 0, 0);
    if (!kept.has(feed)) kept.set(feed, new Map());
    const recent = kept.get(feed).set(number, picture);
    if (recent.size > KEPT) {
      const [oldest, first] = recent.entries().next().value;
      first.close();
      recent.delete(oldest);
    }
    window.live.number[feed] = number;
    tell("picture", { feed, number, latencyUs: view.getUint32(12, true) });
    return feed;
  }

  const ready = (feed) => socket.readyState === WebSocket.OPEN && socket.send(String(feed));

  function open() {
    socket = new WebSocket("ws://" + location.host + "/live");
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      patience = 250;
      tell("state", "live");
    };
    socket.onmessage = async ({ data }) => {
      if (typeof data !== "string") {
        const feed = new DataView(data).getUint32(0, true);
        try {
          await draw(data);
        } finally {
          ready(feed);
        }
        return;
      }
      const said = JSON.parse(data);
      if (said.type === "feeds") {
        tell("feeds", said);
        said.feeds.forEach((_, feed) => ready(feed));
      } else tell(said.type, said);
    };
    socket.onclose = () => {
      tell("state", "lost");
      setTimeout(open, (patience = Math.min(5000, patience * 2)));
    };
  }
  addEventListener("DOMContentLoaded", open);
}
`;
