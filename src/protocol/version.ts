// The version of this package, as hellos tell it and `insane --version` prints it. A test holds it against package.json.
export const VERSION = "0.1.0";
