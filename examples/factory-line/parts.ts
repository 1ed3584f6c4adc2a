// What the cameras see: parts on a belt, drawn once and varied in light and noise as a sensor would, now and then with a
// defect. Which part has one follows from its number, so the camera knows what the detector should have said.
import sharp from "sharp";
import type { FrameFormat } from "../../src/apps/lunar-streaming/index.ts";

export const FORMAT: FrameFormat = { width: 1280, height: 720, pixels: "rgb8" };
/** Parts at the start of a run that are known to be good. */
export const GOOD_AT_FIRST = 24;
const VARIANTS = 6;
const NOISE = 4;
const LIGHT = 0.05;
const DEFECTIVE = 0.16;

export type Defect = "scratch" | "stain" | "hole";

/** Numbers from 0 to 1 that follow from a seed. */
function random(seed: number): () => number {
  let state = (seed * 0x9e3779b1) >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The defect of a part, or none. */
export function defectOf(camera: number, part: number): Defect | undefined {
  const next = random(camera * 100_003 + part);
  if (part < GOOD_AT_FIRST || next() > DEFECTIVE) return undefined;
  return (["scratch", "stain", "hole"] as const)[Math.floor(next() * 3)];
}

export class Parts {
  private readonly camera: number;
  private readonly variants: ReadonlyArray<Uint8Array>;
  private constructor(camera: number, variants: ReadonlyArray<Uint8Array>) {
    this.camera = camera;
    this.variants = variants;
  }

  static async of(camera: number): Promise<Parts> {
    const { data } = await sharp(Buffer.from(camera % 2 === 1 ? flange() : board()))
      .removeAlpha()
      .raw()
      .toBuffer({ resolveWithObject: true });
    const next = random(camera);
    const variants = Array.from({ length: VARIANTS }, (_, i) => {
      const light = 1 + LIGHT * ((2 * i) / (VARIANTS - 1) - 1);
      return Uint8Array.from(data, (byte) => clamp(byte * light + (next() + next() - 1) * NOISE));
    });
    return new Parts(camera, variants);
  }

  /** Takes the picture of a part. */
  photograph(into: Uint8Array, part: number): number {
    const picture = this.variants[part % VARIANTS] as Uint8Array;
    into.set(picture);
    const defect = defectOf(this.camera, part);
    if (defect !== undefined) spoil(into, defect, random(part + 7 * this.camera));
    return picture.length;
  }
}

const clamp = (value: number): number => Math.min(255, Math.max(0, value));

function spoil(into: Uint8Array, defect: Defect, next: () => number): void {
  const { width, height } = FORMAT;
  const shade = (x: number, y: number, amount: number, target: readonly number[]): void => {
    if (x < 0 || y < 0 || x >= width || y >= height) return;
    const at = (Math.floor(y) * width + Math.floor(x)) * 3;
    for (let i = 0; i < 3; i++) into[at + i] = (into[at + i] as number) * (1 - amount) + (target[i] as number) * amount;
  };
  const x0 = width * (0.33 + 0.34 * next());
  const y0 = height * (0.3 + 0.4 * next());
  if (defect === "scratch") {
    const angle = next() * Math.PI;
    const length = 60 + 90 * next();
    for (let t = 0; t < length; t += 0.5) {
      for (let w = -2; w <= 2; w++) {
        const x = x0 + Math.cos(angle) * t - Math.sin(angle) * w;
        // A groove: bright within, dark at its edges.
        const colour = Math.abs(w) === 2 ? [24, 26, 30] : [250, 250, 244];
        shade(x, y0 + Math.sin(angle) * t + Math.cos(angle) * w, 0.85, colour);
      }
    }
    return;
  }
  const radius = defect === "stain" ? 22 + 16 * next() : 13 + 6 * next();
  const colour = defect === "stain" ? [92, 54, 28] : [6, 8, 12];
  for (let y = -radius; y <= radius; y++) {
    for (let x = -radius; x <= radius; x++) {
      const far = Math.hypot(x, y) / radius;
      if (far < 1) shade(x0 + x, y0 + y, defect === "stain" ? 0.8 * (1 - far * far) : 0.95, colour);
    }
  }
}

const belt = (inner: string): string =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="${FORMAT.width}" height="${FORMAT.height}"><defs>` +
  `<linearGradient id="belt" x2="0" y2="1"><stop stop-color="#20262e"/><stop offset=".5" stop-color="#2d353f"/><stop offset="1" stop-color="#1b2027"/></linearGradient>` +
  `<radialGradient id="metal" cx=".38" cy=".3"><stop stop-color="#f1f4f8"/><stop offset=".55" stop-color="#b4bdc9"/><stop offset="1" stop-color="#7d8795"/></radialGradient>` +
  `<linearGradient id="resist" x2="1" y2="1"><stop stop-color="#15603f"/><stop offset="1" stop-color="#0d4630"/></linearGradient></defs>` +
  `<rect width="100%" height="100%" fill="url(#belt)"/>` +
  Array.from({ length: 33 }, (_, i) => `<path d="M${i * 40} 0v720" stroke="#171c22" stroke-width="2"/>`).join("") +
  `<rect y="34" width="100%" height="12" fill="#c98f1b"/><rect y="674" width="100%" height="12" fill="#c98f1b"/>${inner}</svg>`;

function flange(): string {
  const holes = Array.from({ length: 8 }, (_, i) => {
    const angle = (i / 8) * 2 * Math.PI;
    const [x, y] = [640 + Math.cos(angle) * 208, 360 + Math.sin(angle) * 208];
    return `<circle cx="${x}" cy="${y}" r="25" fill="#5b6470"/><circle cx="${x}" cy="${y}" r="18" fill="#20262e"/>`;
  }).join("");
  return belt(
    `<circle cx="648" cy="372" r="282" fill="#0006"/><circle cx="640" cy="360" r="276" fill="url(#metal)" stroke="#5f6976" stroke-width="4"/>` +
      `<circle cx="640" cy="360" r="150" fill="none" stroke="#8b95a3" stroke-width="5"/><circle cx="640" cy="360" r="112" fill="#aab3bf" stroke="#6b7583" stroke-width="6"/>` +
      `<circle cx="640" cy="360" r="84" fill="#242b34"/>${holes}`,
  );
}

function board(): string {
  const chip = (x: number, y: number, w: number, h: number, name: string): string =>
    `<rect x="${x}" y="${y}" width="${w}" height="${h}" rx="6" fill="#171a1f" stroke="#2b3038" stroke-width="3"/>` +
    `<text x="${x + w / 2}" y="${y + h / 2 + 7}" font-family="DejaVu Sans Mono,monospace" font-size="20" fill="#9aa4b2" text-anchor="middle">${name}</text>` +
    Array.from(
      { length: Math.floor(w / 22) },
      (_, i) =>
        `<rect x="${x + 10 + i * 22}" y="${y - 11}" width="9" height="11" fill="#c9ced6"/><rect x="${x + 10 + i * 22}" y="${y + h}" width="9" height="11" fill="#c9ced6"/>`,
    ).join("");
  const traces = Array.from({ length: 14 }, (_, i) => {
    const y = 170 + i * 28;
    return `<path d="M330 ${y}h${90 + (i % 5) * 34}l24 24h${120 + (i % 3) * 60}" fill="none" stroke="#2f9a66" stroke-width="5"/>`;
  }).join("");
  const pads = [
    [330, 140],
    [950, 140],
    [330, 580],
    [950, 580],
  ]
    .map(
      ([x, y]) =>
        `<circle cx="${x}" cy="${y}" r="22" fill="#d7b25a"/><circle cx="${x}" cy="${y}" r="12" fill="#1f262d"/>`,
    )
    .join("");
  return belt(
    `<rect x="298" y="112" width="700" height="516" rx="16" fill="#0006"/><rect x="290" y="104" width="700" height="512" rx="16" fill="url(#resist)" stroke="#0a3323" stroke-width="4"/>` +
      `${traces}${pads}${chip(560, 300, 190, 120, "INSANE-1")}${chip(800, 190, 120, 70, "PHY")}${chip(800, 470, 120, 70, "DDR")}${chip(420, 470, 110, 64, "PMIC")}`,
  );
}
