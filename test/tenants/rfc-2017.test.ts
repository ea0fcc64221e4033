import { containers, testTenants } from "./random-tenants.ts";

testTenants("rfc-2017", () => containers("rfc-2017"));
