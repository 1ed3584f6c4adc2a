// Drivers that crash, at their opening and later (what is done: runtime/drivers.ts). Hangs: test/deep.
import { drivers } from "./runtime/drivers.ts";

drivers("crash");
