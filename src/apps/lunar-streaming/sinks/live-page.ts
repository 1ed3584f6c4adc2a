// The page that shows streams to a person: one panel a stream, with its figures. Everything live comes from /live.js.

export const LIVE_PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Lunar Streaming</title>
<style>
  :root { color-scheme: dark; --ink: #e8ecf4; --soft: #8b97ad; --line: #232c3d; --panel: #121826; --good: #4ade80; --warn: #fbbf24; --bad: #f87171; --tint: #7dd3fc; }
  * { box-sizing: border-box; margin: 0; }
  body { font: 15px/1.5 ui-sans-serif, system-ui, "DejaVu Sans", sans-serif; color: var(--ink); background: radial-gradient(1200px 700px at 80% -10%, #1b2740 0, transparent 60%), #0a0e17; min-height: 100vh; padding: 28px clamp(16px, 4vw, 56px); }
  header { display: flex; align-items: baseline; gap: 16px; margin-bottom: 24px; }
  h1 { font-size: 22px; font-weight: 650; letter-spacing: -.01em; }
  .moon { width: 18px; height: 18px; border-radius: 50%; align-self: center; background: radial-gradient(circle at 32% 35%, #fff, #c7d2e6 60%, #7f8ca5); box-shadow: 0 0 18px #c7d2e655; }
  #state { margin-left: auto; font-size: 13px; color: var(--soft); display: flex; align-items: center; gap: 8px; }
  #state::before { content: ""; width: 9px; height: 9px; border-radius: 50%; background: var(--bad); }
  #state.live::before { background: var(--good); box-shadow: 0 0 10px var(--good); }
  main { display: grid; gap: 22px; grid-template-columns: repeat(auto-fit, minmax(min(100%, 560px), 1fr)); }
  article:only-child { max-width: 1500px; }
  main:empty::after { content: "Waiting for a stream …"; color: var(--soft); }
  article { background: var(--panel); border: 1px solid var(--line); border-radius: 16px; overflow: hidden; box-shadow: 0 18px 50px #0006; }
  .screen { background: #05070c; aspect-ratio: var(--aspect, 16 / 9); max-height: calc(100vh - 300px); width: 100%; display: grid; place-items: center; position: relative; }
  canvas { position: absolute; inset: 0; width: 100%; height: 100%; object-fit: contain; display: block; }
  .tag { position: absolute; left: 14px; top: 12px; font: 600 12px/1 ui-monospace, "DejaVu Sans Mono", monospace; padding: 7px 10px; border-radius: 999px; background: #0a0e17cc; color: var(--ink); backdrop-filter: blur(6px); }
  .over { position: absolute; inset: auto 14px 14px; padding: 10px 14px; border-radius: 10px; background: #0a0e17e0; color: var(--warn); font-size: 13px; }
  .over:empty { display: none; }
  .about { display: flex; justify-content: space-between; gap: 12px; padding: 14px 18px 4px; }
  .about b { font-weight: 620; }
  .about span { color: var(--soft); font-size: 13px; }
  dl { display: grid; grid-template-columns: repeat(4, 1fr); padding: 8px 18px 16px; gap: 8px 14px; }
  dt { color: var(--soft); font-size: 12px; }
  dd { font: 600 19px/1.3 ui-monospace, "DejaVu Sans Mono", monospace; font-variant-numeric: tabular-nums; }
  dd small { font-size: 12px; font-weight: 500; color: var(--soft); }
  dd.some { color: var(--warn); }
  svg { display: block; width: 100%; height: 44px; border-top: 1px solid var(--line); }
  svg path { fill: none; stroke: var(--tint); stroke-width: 1.6; vector-effect: non-scaling-stroke; }
  svg path.area { fill: #7dd3fc18; stroke: none; }
</style>
<header><i class="moon"></i><h1 id="title">Lunar Streaming</h1><div id="state">connecting</div></header>
<main id="wall"></main>
<script src="/live.js"></script>
<script>
  const wall = document.getElementById("wall");
  const panels = [];
  const on = (what, use) => document.addEventListener("live:" + what, ({ detail }) => use(detail));
  const make = (tag, props = {}, ...children) => {
    const node = Object.assign(document.createElement(tag), props);
    node.append(...children);
    return node;
  };
  const figure = (name) => {
    const value = make("dd", { textContent: "–" });
    return { value, node: make("div", {}, make("dt", { textContent: name }), value) };
  };
  const spark = () => {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 119 44");
    svg.setAttribute("preserveAspectRatio", "none");
    svg.innerHTML = '<path class="area"/><path/>';
    const values = [];
    return { svg, add(value) {
      values.push(value);
      if (values.length > 120) values.shift();
      const top = Math.max(...values, 0.001) * 1.15;
      const line = values.map((v, i) => (i ? "L" : "M") + (120 - values.length + i) + " " + (42 - (v / top) * 38).toFixed(1)).join("");
      const [area, path] = svg.children;
      path.setAttribute("d", line);
      area.setAttribute("d", line + "L119 44L" + (120 - values.length) + " 44Z");
    } };
  };
  function panel(feed) {
    const fields = ["frames/s", "MB/s", "latency", "missed"].map(figure);
    const one = { fields, spark: spark(), tag: make("span", { className: "tag", textContent: "–" }), over: make("div", { className: "over" }), name: make("b"), about: make("span") };
    one.screen = make("div", { className: "screen" }, live.canvas(feed), one.tag, one.over);
    one.node = make("article", {}, one.screen, make("div", { className: "about" }, one.name, one.about), make("dl", {}, ...fields.map(({ node }) => node)), one.spark.svg);
    wall.append(one.node);
    return one;
  }
  on("feeds", ({ title, feeds }) => {
    document.title = title;
    document.getElementById("title").textContent = title;
    feeds.forEach((feed, i) => {
      const one = (panels[i] ??= panel(i));
      one.name.textContent = feed.name;
      one.about.textContent = feed.width + " × " + feed.height + " " + feed.pixels + ", " + feed.encoding;
      one.screen.style.setProperty("--aspect", feed.width + " / " + feed.height);
      one.over.textContent = feed.over === undefined ? "" : feed.over === "ended" ? "The stream has ended." : feed.over;
    });
  });
  on("picture", ({ feed, number }) => { panels[feed].tag.textContent = "frame " + number; });
  on("wrong", ({ feed, why }) => { panels[feed].over.textContent = why; });
  on("statistics", ({ feed, fps, megabytesPerSecond, latencyMs, totals }) => {
    const one = panels[feed];
    if (!one) return;
    const missed = totals.skipped + totals.overtaken + totals.lost;
    [fps.toFixed(1), megabytesPerSecond.toFixed(0), latencyMs.p50.toFixed(2), String(missed)].forEach((text, i) => { one.fields[i].value.textContent = text; });
    one.fields[2].value.append(make("small", { textContent: " ms" }));
    one.fields[3].value.className = missed > 0 ? "some" : "";
    one.spark.add(latencyMs.p50);
  });
  on("state", (state) => {
    const shown = document.getElementById("state");
    shown.className = state;
    shown.textContent = state === "live" ? "live" : "connection lost, trying again";
  });
</script>
</html>
`;
