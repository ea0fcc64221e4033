import { containers, testTenants } from "./random-tenants.ts";

testTenants("vsva-v1", () => containers("vsva-v1"));
