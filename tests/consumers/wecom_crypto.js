// WeCom's own crypto for Node (`@wecom/crypto`): `node wecom_crypto.js encrypt|decrypt TOKEN KEY
// CORP`, a JSON object on its input; prints a JSON object.
const { decrypt, encrypt, getSignature } = require("@wecom/crypto");
const { readFileSync } = require("node:fs");

const [action, token, key, corp] = process.argv.slice(2);
const given = JSON.parse(readFileSync(0, "utf8"));
let result;
if (action === "encrypt") {
  const encrypted = encrypt(key, given.message, corp);
  const signature = getSignature(token, given.timestamp, given.nonce, encrypted);
  result = { encrypted, signature };
} else {
  const signature = getSignature(token, given.timestamp, given.nonce, given.encrypted);
  if (signature !== given.signature) throw new Error("wrong signature");
  const { message, id } = decrypt(key, given.encrypted);
  if (id !== corp) throw new Error("for another receiver");
  result = { message };
}
console.log(JSON.stringify(result));
