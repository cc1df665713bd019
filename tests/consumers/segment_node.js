// Segment's official library for Node: {host, writeKey, calls: [[method, message]…]} on the input;
// prints, for each call, whether the library counts it as delivered.
const { readFileSync } = require("node:fs");
const { Analytics } = require("@segment/analytics-node");

const { host, writeKey, calls } = JSON.parse(readFileSync(0, "utf8"));
const analytics = new Analytics({ host, writeKey, maxRetries: 0, flushAt: 100 });
const delivered = calls.map(
  ([method, message]) =>
    new Promise((done) => {
      if (message.timestamp) message.timestamp = new Date(message.timestamp);
      analytics[method](message, (error, context) => done(!error && !context.failedDelivery()));
    }),
);
Promise.all([Promise.all(delivered), analytics.closeAndFlush()]).then(([found]) =>
  console.log(JSON.stringify(found)),
);
