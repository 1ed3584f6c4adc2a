// The version of this package, as the hello tells it. A test holds it against package.json.
export const VERSION = "0.1.0";
