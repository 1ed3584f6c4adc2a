// Channels that a peer wants at another of its endpoints than before: the engine moves these routes, so that between the two
// nothing is lost and nothing overtakes. Which they are, and the order to the engine.
import type { Command } from "../effects/engine.ts";
import { InsaneError } from "../protocol/codes.ts";
import { addRoute, hasRoute, type Route, type RouteTable, removeRoute } from "./route-table.ts";

export interface MovePorts {
  /** How long messages of a route that moves may wait for what was sent before them, ms. */
  readonly patienceMs: number;
  /** Moves a route by `order`; resolves when what was sent before has arrived, or had its time. */
  moving(tag: number, channel: number, order: () => Promise<number>): Promise<void>;
}

/** One endpoint of a peer: the routes that it has, and those that it is to have. */
export interface Place {
  readonly number: number;
  readonly routes: RouteTable;
  readonly wanted: RouteTable;
}

/** Moves at a time: each of them waits for an echo. */
const AT_ONCE = 64;

/** Another endpoint has this route and is to lose it: from there it comes. */
export const comes = (route: Route, others: ReadonlyArray<Place>): boolean =>
  others.some(({ routes, wanted }) => hasRoute(routes, route) && !hasRoute(wanted, route));

/**
 * Moves those of `over` that another endpoint wants and has not; in the tables as well. Resolves with those that are left: to
 * be removed.
 */
export async function moveRoutes(
  ports: MovePorts,
  send: (what: string, command: Command) => Promise<number>,
  from: Place,
  over: ReadonlyArray<Route>,
  others: ReadonlyArray<Place>,
): Promise<Route[]> {
  const left: Route[] = [];
  const move = async (route: Route): Promise<void> => {
    const to = others.find(({ routes, wanted }) => hasRoute(wanted, route) && !hasRoute(routes, route));
    if (!to) {
      left.push(route);
      return;
    }
    const { tag, channel } = route;
    try {
      await ports.moving(tag, channel, () =>
        send("the move of a route", (api, engine) =>
          api.moveRoute(engine, tag, channel, from.number, to.number, ports.patienceMs),
        ),
      );
      addRoute(to.routes, route);
      removeRoute(from.routes, route);
    } catch (cause) {
      if (!(cause instanceof InsaneError && cause.code === "ESYSTEM")) throw cause;
      left.push(route);
    }
  };
  for (let i = 0; i < over.length; i += AT_ONCE) await Promise.all(over.slice(i, i + AT_ONCE).map(move));
  return left;
}
