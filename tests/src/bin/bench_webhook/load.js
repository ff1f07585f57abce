// A constant arrival rate of signed deliveries. A signature is of the body alone, so bodies come
// signed, and each request gets a delivery id of its own.
import exec from 'k6/execution';
import http from 'k6/http';
import { SharedArray } from 'k6/data';
import { Counter, Trend } from 'k6/metrics';

const events = new SharedArray('events', () => JSON.parse(open(__ENV.EVENTS)));
const rate = Number(__ENV.RATE);
const accepted = new Counter('accepted');
const refused = new Counter('refused');
const answered = new Trend('answered', true);
let told = false;

function load(seconds, startTime, name) {
  return {
    executor: 'constant-arrival-rate', rate, timeUnit: '1s', duration: `${seconds}s`, startTime,
    preAllocatedVUs: 300, maxVUs: 1000, gracefulStop: '30s', exec: name,
  };
}

export const options = {
  scenarios: {
    warm: load(__ENV.WARM_UP, '0s', 'warm'),
    measure: load(__ENV.SECONDS, `${__ENV.WARM_UP}s`, 'measure'),
  },
  summaryTrendStats: ['p(50)', 'p(95)', 'p(99)', 'max'],
};

function delivery(mark) {
  const hex = (digits) => Math.floor(Math.random() * 16 ** digits).toString(16).padStart(digits, '0');
  return `${mark}-${hex(4)}-4${hex(3)}-8${hex(3)}-${hex(12)}`;
}

function send(mark) {
  const event = events[exec.scenario.iterationInTest % events.length];
  const answer = http.post(__ENV.URL, event.body, {
    headers: {
      'Content-Type': 'application/json',
      'User-Agent': 'GitHub-Hookshot/bench',
      'X-GitHub-Event': event.event,
      'X-GitHub-Delivery': delivery(mark),
      'X-Hub-Signature-256': event.signature,
    },
  });
  if (answer.status !== 202) {
    refused.add(1);
    if (!told) console.error(`${event.event} was answered with ${answer.status} ${answer.error}`);
    told = true;
  }
  return answer;
}

export function warm() {
  send('00000000');
}

export function measure() {
  const answer = send(__ENV.MARK);
  if (answer.status === 202) accepted.add(1);
  answered.add(answer.timings.duration);
}

export function handleSummary(data) {
  const of = (name, value) => (data.metrics[name] ? data.metrics[name].values[value] : 0);
  const report = {
    accepted: of('accepted', 'count'),
    refused: of('refused', 'count'),
    dropped: of('dropped_iterations', 'count'),
    p50_ms: of('answered', 'p(50)'),
    p95_ms: of('answered', 'p(95)'),
    p99_ms: of('answered', 'p(99)'),
    max_ms: of('answered', 'max'),
  };
  return { [__ENV.REPORT]: JSON.stringify(report) };
}
