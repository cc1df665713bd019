// Signs a body as Stripe's official library for Node does: {secret, at, body} on the input; prints
// the header, after the library has taken its own signature for genuine.
const { readFileSync } = require("node:fs");
const Stripe = require("stripe");

const { secret, at, body } = JSON.parse(readFileSync(0, "utf8"));
const { webhooks } = new Stripe("sk_test_none");
const header = webhooks.generateTestHeaderString({ payload: body, secret, timestamp: at });
webhooks.constructEvent(body, header, secret, 0);
console.log(JSON.stringify(header));
