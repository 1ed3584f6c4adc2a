// Drivers that hang, at their opening and later (what is done: ../integration/runtime/drivers.ts).
import { drivers } from "../integration/runtime/drivers.ts";

drivers("hang");
