// GitHub's examples of what it delivers, signed as it signs, each sent twice.

import examples from "@octokit/webhooks-examples" with { type: "json" };
import { sign } from "@octokit/webhooks-methods";

const { SEATRIAL_TEST_URL: url, SEATRIAL_TEST_TOKEN: token, SEATRIAL_TEST_SECRET: secret } = process.env;

const deliveries = examples.flatMap(({ name, examples }) =>
  examples.map((payload, number) => ({ id: `${name}-${number}`, name, body: JSON.stringify(payload) })),
);
const wrong = [];

for (const { id, name, body } of deliveries) {
  const headers = {
    "content-type": "application/json",
    "x-github-event": name,
    "x-github-delivery": id,
    "x-hub-signature-256": await sign(secret, body),
  };
  const send = async () => {
    const answer = await fetch(`${url}/api/webhooks/github`, { method: "POST", headers, body });
    return { status: answer.status, ...(await answer.json()) };
  };
  const first = await send();
  const second = await send();
  const taken = first.status === 202 && first.delivery === id && first.duplicate === false;
  const again = JSON.stringify(second) === JSON.stringify({ ...first, duplicate: true });
  if (!taken || !again) wrong.push({ id, first, second });
}

const listed = new Set();
let after;
do {
  const query = new URLSearchParams({ limit: "200", ...(after && { after }) });
  const answer = await fetch(`${url}/api/v1/deliveries?${query}`, { headers: { authorization: `Bearer ${token}` } });
  const page = await answer.json();
  page.items.forEach(({ id }) => listed.add(id));
  after = page.next;
} while (after);

console.log(`${deliveries.length} deliveries, ${listed.size} listed`);
wrong.forEach((delivery) => console.log(JSON.stringify(delivery)));
const complete = listed.size === deliveries.length && deliveries.every(({ id }) => listed.has(id));
process.exitCode = deliveries.length === 329 && complete && wrong.length === 0 ? 0 : 1;
