// The camera's picture: a file decoded by sharp, or one that the project makes; and PNG files of what was received.
import sharp from "sharp";

export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint8Array;
}

/** 1920 x 1080: a conveyor of parts on a bench, drawn as SVG, so that a received picture is recognisably right. */
const scene = (): string => {
  const part = (x: number, hue: number, label: string): string =>
    `<g transform="translate(${x} 560)"><rect x="-120" y="-150" width="240" height="220" rx="26" fill="hsl(${hue} 62% 52%)"/>` +
    `<circle cx="-52" cy="-60" r="30" fill="#0f172a" opacity=".55"/><circle cx="52" cy="-60" r="30" fill="#0f172a" opacity=".55"/>` +
    `<rect x="-70" y="6" width="140" height="26" rx="13" fill="#f8fafc" opacity=".85"/>` +
    `<text x="0" y="118" font-family="DejaVu Sans,sans-serif" font-size="34" fill="#e2e8f0" text-anchor="middle">${label}</text></g>`;
  const rollers = Array.from(
    { length: 25 },
    (_, i) => `<circle cx="${40 + i * 77}" cy="760" r="30" fill="#475569"/>`,
  ).join("");
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="1920" height="1080"><defs><linearGradient id="g" x2="0" y2="1">` +
    `<stop stop-color="#0f172a"/><stop offset="1" stop-color="#1e3a5f"/></linearGradient></defs><rect width="1920" height="1080" fill="url(#g)"/>` +
    `<text x="960" y="190" font-family="DejaVu Sans,sans-serif" font-size="92" font-weight="700" fill="#f8fafc" text-anchor="middle">INSANE</text>` +
    `<text x="960" y="255" font-family="DejaVu Sans,sans-serif" font-size="38" fill="#94a3b8" text-anchor="middle">camera one, raw RGB, straight from shared memory</text>` +
    `<rect x="0" y="700" width="1920" height="120" fill="#334155"/>${rollers}` +
    `${part(260, 205, "part 17")}${part(660, 152, "part 18")}${part(1060, 38, "part 19")}${part(1460, 352, "part 20")}</svg>`
  );
};

/** Decodes `file`, or draws the default. Throws with the file's name when it is not a picture. */
export async function loadPicture(file: string | undefined): Promise<Picture> {
  try {
    const { data, info } = await sharp(file ?? Buffer.from(scene()))
      .removeAlpha()
      .toColourspace("srgb")
      .raw()
      .toBuffer({ resolveWithObject: true });
    return { width: info.width, height: info.height, pixels: data };
  } catch (error) {
    throw new Error(
      `${file ?? "the default picture"} cannot be decoded: ${(error as Error).message}. Give --image a PNG, JPEG, WebP, AVIF, GIF or TIFF file.`,
    );
  }
}

export async function savePicture(file: string, picture: Picture): Promise<void> {
  await sharp(picture.pixels, { raw: { width: picture.width, height: picture.height, channels: 3 } })
    .png({ compressionLevel: 6 })
    .toFile(file);
}

/** The same picture seen one step later: the rows move on, so that every frame and its hash differ. */
export function nextFrame(picture: Picture, number: number, into: Uint8Array): Uint8Array {
  const row = picture.width * 3;
  const shift = ((number * 8) % picture.width) * 3;
  for (let y = 0; y < picture.height; y++) {
    const at = y * row;
    const moving = y >= picture.height * 0.36 && y < picture.height * 0.78;
    const by = moving ? shift : 0;
    into.set(picture.pixels.subarray(at, at + row - by), at + by);
    if (by > 0) into.set(picture.pixels.subarray(at + row - by, at + row), at);
  }
  return into;
}
