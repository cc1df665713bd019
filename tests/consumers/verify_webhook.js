// Standard Webhooks' and Svix's own verifiers for Node: a JSON object {now, cases} on the input,
// each case {secret, headers, body (base64)}; prints, for each library, which cases it takes.
const { readFileSync } = require("node:fs");
const { Webhook: Standard } = require("standardwebhooks");
const { Webhook: Svix } = require("svix");

const { now, cases } = JSON.parse(readFileSync(0, "utf8"));
Date.now = () => now * 1000; // both compare a message's time with this clock
const result = {};
for (const [name, Webhook] of Object.entries({ standardwebhooks: Standard, svix: Svix })) {
  result[name] = cases.map(({ secret, headers, body }) => {
    try {
      new Webhook(secret).verify(Buffer.from(body, "base64"), headers);
      return true;
    } catch (error) {
      if (error.constructor.name !== "WebhookVerificationError") throw error;
      return false;
    }
  });
}
console.log(JSON.stringify(result));
