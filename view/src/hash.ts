/** What a link to a place in the page says. */
export interface Place {
  lane?: string;
  /** Addresses between which the lane is shown. */
  from?: string;
  to?: string;
  /** Of a trace: how many events have happened. */
  time?: number;
  /** Number of the chosen call. */
  call?: number;
  query?: string;
  /** Boxes that are ticked: failed, dma, interrupts. */
  show?: string[];
}

export function readHash(hash: string): Place {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  const place: Place = {};
  const address = /^0x[0-9a-f]{1,16}$/i;
  const lane = given.get("lane");
  if (lane) place.lane = lane;
  for (const name of ["from", "to"] as const) {
    const text = given.get(name);
    if (text && address.test(text)) place[name] = text;
  }
  for (const name of ["time", "call"] as const) {
    const text = given.get(name);
    if (text && /^\d{1,9}$/.test(text)) place[name] = Number(text);
  }
  const query = given.get("q");
  if (query) place.query = query;
  const show = given.get("show");
  if (show) place.show = show.split(",");
  return place;
}

export function writeHash({ lane, from, to, time, call, query, show }: Place): string {
  const said = new URLSearchParams();
  if (lane) said.set("lane", lane);
  if (from && to) {
    said.set("from", from);
    said.set("to", to);
  }
  if (time !== undefined) said.set("time", String(time));
  if (call !== undefined) said.set("call", String(call));
  if (query) said.set("q", query);
  if (show && show.length > 0) said.set("show", show.join(","));
  const text = said.toString().replaceAll("%2C", ",");
  return text === "" ? "" : `#${text}`;
}
