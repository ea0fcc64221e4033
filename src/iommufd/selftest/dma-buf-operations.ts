import { DmaBuf, DmaBufFile } from "../../kernel/dma-buf.ts";
import { fail } from "../../kernel/errors.ts";
import { faultPoint } from "../../kernel/fault-points.ts";
import { AnonymousMemory } from "../../kernel/model-anonymous.ts";
import { IommuTestCmd } from "../../uapi/iommufd-test.ts";
import type { Command } from "../command.ts";
import type { IommufdContext } from "../context.ts";
import type { SelftestGround } from "./ground.ts";

const PAGES_MAX = 512;
/** asm-generic/fcntl.h, as all that have VFIO have it */
const O_CLOEXEC = 0o2000000;

/** The dma-bufs that tests have made: only these are theirs to take back. */
const made = new WeakSet<DmaBuf>();

/** selftest.c:iommufd_test_dmabuf_get. The descriptor is what the request returns. */
export function dmaBufGet(context: IommufdContext, _ground: SelftestGround, command: Command): number {
  const { length, open_flags } = IommuTestCmd.read(command.view, 0).dmabuf_get;
  const { pageSize } = context;
  const pages = Math.ceil(length / pageSize);
  if (pages === 0 || pages > PAGES_MAX) fail("EINVAL", `${length} bytes are not 1 to ${PAGES_MAX} pages`);
  faultPoint("failslab");
  const buf = new DmaBuf(new AnonymousMemory(pageSize), pages * pageSize);
  made.add(buf);
  return command.task.files.install(new DmaBufFile(buf), (open_flags & O_CLOEXEC) !== 0);
}

/** selftest.c:iommufd_test_dmabuf_revoke */
export function dmaBufRevoke(_context: IommufdContext, _ground: SelftestGround, command: Command): number {
  const { dmabuf_fd: fd, revoked } = IommuTestCmd.read(command.view, 0).dmabuf_revoke;
  const file = command.task.files.get(fd) ?? fail("EBADF", `file descriptor ${fd} is not open`);
  if (!(file instanceof DmaBufFile)) fail("EINVAL", `file descriptor ${fd} is no dma-buf but ${file.label}`);
  if (!made.has(file.buf)) fail("EOPNOTSUPP", "the dma-buf is not one of iommufd's selftests");
  file.buf.revoke(revoked !== 0);
  return 0;
}
