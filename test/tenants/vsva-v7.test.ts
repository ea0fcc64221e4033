import { containers, testTenants } from "./random-tenants.ts";

testTenants("vsva-v7", () => containers("vsva-v7"));
