/**
 * guard-main NAMESPACE PROGRAM STARTED: uvfio was killed. Sends SIGTERM, once, to every process that it ran: to those
 * in the mount namespace that was made for the program, which this process holds, and to all that descend from them or
 * from the program, which was started at that time. Processes that nobody may look at are found by their parents.
 */
import { tellAll } from "./tell-processes.ts";

const [namespace, program, started = ""] = process.argv.slice(2);
tellAll(Number(namespace), { pid: Number(program), started });
