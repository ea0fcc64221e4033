/**
 * guard-main NAMESPACE PROGRAM: uvfio was killed. Sends SIGTERM, once, to every process that it ran: to those in the
 * mount namespace that was made for the program, and to all that descend from them or from the program. Processes that
 * nobody may look at are found by their parents.
 */
import { tellAll } from "./tell-processes.ts";

const [namespace = 0, program = 0] = process.argv.slice(2).map(Number);
tellAll(namespace, program);
