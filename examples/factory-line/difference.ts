// Finds defects in a picture by its difference from what good parts look like: learned from the first ones, block by block,
// brightness apart. Arithmetic on pixels only.

export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}
export interface Finding {
  readonly boxes: ReadonlyArray<Box>;
  /** Largest difference of a block, in units of what is normal there. */
  readonly score: number;
}

/** Pixels a side of a block, and of the grid that is looked at. */
const BLOCK = 16;
const STEP = 2;
/** A block is wrong beyond this many times its normal difference, and this much in any case (of 255). */
const TIMES = 3;
const LEAST = 6;

export class DifferenceDetector {
  private readonly width: number;
  private readonly height: number;
  private readonly columns: number;
  private readonly rows: number;
  private readonly wanted: number;
  private learned = 0;
  /** Sum, then mean, of the pictures that were learned, and the normal difference of each block. */
  private readonly reference: Float32Array;
  private readonly examples: Uint8Array[] = [];
  private readonly normal: Float32Array;

  /** `learn`: how many pictures of good parts come first. */
  constructor(width: number, height: number, learn = 8) {
    this.width = width;
    this.height = height;
    this.columns = Math.ceil(width / BLOCK);
    this.rows = Math.ceil(height / BLOCK);
    this.wanted = learn;
    this.reference = new Float32Array(Math.ceil(width / STEP) * Math.ceil(height / STEP) * 3);
    this.normal = new Float32Array(this.columns * this.rows);
  }

  get ready(): boolean {
    return this.learned === this.wanted;
  }

  /** Takes a good part's RGB picture into account. */
  learn(rgb: Uint8Array): void {
    const sample = this.sample(rgb);
    this.examples.push(sample);
    for (let i = 0; i < sample.length; i++) (this.reference[i] as number) += (sample[i] as number) / this.wanted;
    if (++this.learned < this.wanted) return;
    for (const example of this.examples.splice(0)) {
      this.blocks(example).forEach((difference, block) => {
        if (difference > (this.normal[block] as number)) this.normal[block] = difference;
      });
    }
  }

  inspect(rgb: Uint8Array): Finding {
    const differences = this.blocks(this.sample(rgb));
    const wrong = new Uint8Array(differences.length);
    let score = 0;
    differences.forEach((difference, block) => {
      const limit = Math.max(LEAST, TIMES * (this.normal[block] as number));
      score = Math.max(score, difference / limit);
      if (difference > limit) wrong[block] = 1;
    });
    return { boxes: this.boxes(wrong), score };
  }

  private sample(rgb: Uint8Array): Uint8Array {
    const { width, height } = this;
    const sample = new Uint8Array(this.reference.length);
    let at = 0;
    for (let y = 0; y < height; y += STEP) {
      for (let x = 0, from = y * width * 3; x < width; x += STEP, from += 3 * STEP) {
        sample[at++] = rgb[from] as number;
        sample[at++] = rgb[from + 1] as number;
        sample[at++] = rgb[from + 2] as number;
      }
    }
    return sample;
  }

  /** The mean difference of each block, after the whole picture has been made as bright as the reference. */
  private blocks(sample: Uint8Array): Float32Array {
    const { reference, columns } = this;
    let mine = 1;
    let theirs = 1;
    for (let i = 1; i < sample.length; i += 3) {
      mine += sample[i] as number;
      theirs += reference[i] as number;
    }
    const gain = theirs / mine;
    const wide = Math.ceil(this.width / STEP);
    const cell = BLOCK / STEP;
    const sums = new Float32Array(columns * this.rows);
    let at = 0;
    for (let row = 0; at < sample.length; row += at % (cell * wide * 3) === 0 ? columns : 0) {
      for (let column = 0; column < columns; column++) {
        const end = at + Math.min(cell, wide - column * cell) * 3;
        let sum = 0;
        for (; at < end; at += 3) {
          const red = Math.abs((sample[at] as number) * gain - (reference[at] as number));
          const green = Math.abs((sample[at + 1] as number) * gain - (reference[at + 1] as number));
          const blue = Math.abs((sample[at + 2] as number) * gain - (reference[at + 2] as number));
          sum += Math.max(red, green, blue);
        }
        (sums[row + column] as number) += sum;
      }
    }
    return sums.map((sum) => sum / (cell * cell));
  }

  /** Blocks that touch belong to one defect. */
  private boxes(wrong: Uint8Array): Box[] {
    const { columns, rows } = this;
    const found: Box[] = [];
    for (let start = 0; start < wrong.length; start++) {
      if (wrong[start] === 0) continue;
      wrong[start] = 0;
      let [left, right, top, bottom] = [columns, -1, rows, -1];
      for (const open = [start]; open.length > 0; ) {
        const block = open.pop() as number;
        const x = block % columns;
        const y = Math.floor(block / columns);
        left = Math.min(left, x);
        right = Math.max(right, x);
        top = Math.min(top, y);
        bottom = Math.max(bottom, y);
        for (let dy = -1; dy <= 1; dy++) {
          for (let dx = -1; dx <= 1; dx++) {
            const next = (y + dy) * columns + x + dx;
            if (x + dx < 0 || x + dx >= columns || y + dy < 0 || y + dy >= rows || wrong[next] === 0) continue;
            wrong[next] = 0;
            open.push(next);
          }
        }
      }
      const [x, y] = [left * BLOCK, top * BLOCK];
      found.push({
        x,
        y,
        width: Math.min(this.width, (right + 1) * BLOCK) - x,
        height: Math.min(this.height, (bottom + 1) * BLOCK) - y,
      });
    }
    return found;
  }
}
