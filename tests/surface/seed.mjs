// Pull requests on the stand-in for GitHub, which tells the program of them by signed events.

const { SEATRIAL_TEST_GITHUB: github } = process.env;

async function control(method, path, body) {
  const answer = await fetch(`${github}/_control/${path}`, {
    method,
    headers: { "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.json();
}

// Enough to be admitted; it is never deployed, for there is no cluster.
const files = { ".seatrial.yaml": "version: 1\nchart: { path: chart }\n" };
await control("POST", "repositories", { owner: "acme", name: "shop", files });
const pulls = "repositories/acme/shop/pulls";
// The description's examples speak of the seventh.
for (let number = 1; number <= 7; number += 1) {
  const head = `page-${number}`;
  await control("POST", pulls, { title: `Page ${number}`, head, files: { [head]: "" } });
}
await control("POST", `${pulls}/3/close`, {});
await control("POST", "deliveries/settle");

const events = (await control("GET", "deliveries")).filter(({ event }) => event === "pull_request");
const answers = events.map(({ action, status_code }) => `${action} ${status_code}`);
if (answers.length !== 8 || !answers.every((answer) => answer.endsWith(" 202"))) throw new Error(answers.join(", "));
