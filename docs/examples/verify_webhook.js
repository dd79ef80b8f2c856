// Verify a webhook of MarqetFi with Node alone. Try it on one: node verify_webhook.js HEADERS.json BODY
//
// WEBHOOK_SECRET holds the endpoint's secret. HEADERS.json is an object of the request's headers, BODY the file of its
// raw body. It prints the event and exits 0, or says what is wrong and exits 1.

const { createHmac, timingSafeEqual } = require("node:crypto");
const { readFileSync } = require("node:fs");

const TOLERANCE_SECONDS = 300;
const HEADERS = ["webhook-id", "webhook-timestamp", "webhook-signature"];

// The event of a request; throws where it is not ours, or not of the last five minutes. `body` is a Buffer.
function verify(headers, body, secret) {
  const given = Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  const absent = HEADERS.find((name) => !given[name]);
  if (absent) {
    throw new Error(`the request has no header ${absent}`);
  }
  const [id, timestamp, signatures] = HEADERS.map((name) => given[name]);
  if (!(Math.abs(Date.now() / 1000 - Number(timestamp)) <= TOLERANCE_SECONDS)) {
    throw new Error("the request is too old, or a clock is wrong");
  }
  const prefix = "whsec_";
  const key = secret.startsWith(prefix) ? Buffer.from(secret.slice(prefix.length), "base64") : Buffer.from(secret);
  if (key.length === 0) {
    throw new Error("the secret is empty");
  }
  // The bytes as they came: JSON that was parsed and written again is another text.
  const digest = createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest("base64");
  const expected = Buffer.from(`v1,${digest}`);
  // While a secret is being rotated there are two signatures: one that fits is enough.
  const fits = signatures.split(" ").some((one) => {
    const signature = Buffer.from(one);
    return signature.length === expected.length && timingSafeEqual(signature, expected);
  });
  if (!fits) {
    throw new Error("the signature does not match");
  }
  return JSON.parse(body.toString("utf8"));
}

module.exports = { verify };

if (require.main === module) {
  if (process.argv.length !== 4) {
    console.error("give two files: HEADERS.json BODY");
    process.exit(1);
  }
  try {
    const [headers, body] = process.argv.slice(2).map((name) => readFileSync(name));
    const event = verify(JSON.parse(headers.toString("utf8")), body, process.env.WEBHOOK_SECRET ?? "");
    console.log(event.event_type, event.data.sequence);
  } catch (error) {
    console.error(`refused: ${error.message}`);
    process.exit(1);
  }
}
