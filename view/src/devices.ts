import type { DeviceFacts } from "../../src/inspect/picture/event.ts";
import type { PictureState } from "../../src/inspect/picture/state.ts";
import { button, byId, make } from "./dom.ts";

let drawn = "";

/** Groups with their devices: who has them, and what they reach. @param toLane shows an address space */
export function showDevices({ devices, spaces }: PictureState, toLane: (space: string) => void): void {
  const key = JSON.stringify([
    [...devices],
    [...spaces.values()].map(({ id, facts }) => [id, facts.label, facts.owner]),
  ]);
  if (key === drawn) return;
  drawn = key;
  const groups = new Map<number, [string, DeviceFacts][]>();
  for (const [name, facts] of devices) groups.set(facts.group, [...(groups.get(facts.group) ?? []), [name, facts]]);
  const elements = [...groups]
    .sort(([a], [b]) => a - b)
    .map(([group, members]) =>
      make(
        "div",
        { class: "group" },
        make("span", { class: "dim" }, `group ${group}`),
        make("div", {}, ...members.map(([name, facts]) => device(name, facts, spaces, toLane))),
      ),
    );
  byId("devices").replaceChildren(
    ...(elements.length > 0 ? elements : [make("div", { class: "empty" }, "Devices of the host stand here.")]),
  );
}

function device(
  name: string,
  { driver, ids, model, user, space }: DeviceFacts,
  spaces: PictureState["spaces"],
  toLane: (space: string) => void,
): HTMLElement {
  const reached = space === null ? undefined : spaces.get(space);
  const line = make(
    "div",
    { class: "device" },
    make("span", { class: "mono" }, name),
    make("span", { class: "dim" }, [ids, model, driver ?? "no driver"].filter((each) => each !== "").join(" · ")),
    make("span", user === null ? { class: "dim" } : { class: "user" }, user ?? "free"),
  );
  if (reached) {
    const link = button(`→ ${reached.facts.label}`, "Show its lane", () => toLane(reached.id));
    link.classList.add("link");
    line.append(link);
  }
  return line;
}
