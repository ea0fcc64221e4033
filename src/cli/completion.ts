import tab from "@bomb.sh/tab/commander";
import type { Command } from "commander";
import { READY_MADE_HOSTS } from "../machine/ready-made-hosts.ts";

/**
 * Adds `uvfio completion SHELL`, which prints a script for the shell, and the hidden `uvfio complete`, which that script asks at every
 * TAB. What there is to complete is the program's own table of commands and options.
 */
export function addCompletion(program: Command): void {
  const completion = tab(program, { completionCommandName: "completion" });
  for (const command of completion.commands.values()) {
    const machine = command.options.get("machine");
    if (machine)
      machine.handler = (complete) => {
        for (const host of READY_MADE_HOSTS) complete(host.name, host.description);
      };
  }
}
