// What the scripts share: settings of the environment, the connection, and the calls.
//
// Points are whole numbers of the currency's smallest unit. A request id is used once, ever.

import grpc from 'k6/net/grpc';
import { check, fail } from 'k6';
import exec from 'k6/execution';

const ADDRESS = __ENV.ADDRESS || '127.0.0.1:50051';
const TOKEN = __ENV.TOKEN || '';
const TLS = __ENV.TLS === '1';
const PROGRAM = __ENV.PROGRAM || 'load';
const MEMBERS = Number(__ENV.MEMBERS || 1000);
const CALLERS = Number(__ENV.CALLERS || 64);
const RATE = Number(__ENV.RATE || 0);
const DURATION = __ENV.DURATION || '10s';
const P99_MS = Number(__ENV.P99_MS || 0);
const POINTS = 5;
const BATCH = 100;
const LEDGER = 'loyalty.ledger.v1.LedgerService/';

const client = new grpc.Client();
client.load([__ENV.PROTOS || '../../../protos'], 'loyalty/ledger/v1/ledger.proto');

// Another run, or another caller of this one, must not take a request id that was used.
const run = Math.random().toString(36).slice(2, 12);
let calls = 0;
let connected = false;

// Callers that call again as soon as they are answered or, with RATE, so many calls a second.
export function options() {
  const scenario = RATE
    ? {
        executor: 'constant-arrival-rate',
        rate: RATE,
        timeUnit: '1s',
        duration: DURATION,
        preAllocatedVUs: CALLERS,
        maxVUs: 4 * CALLERS,
      }
    : { executor: 'constant-vus', vus: CALLERS, duration: DURATION };
  const thresholds = { checks: ['rate==1'] };
  if (P99_MS) {
    thresholds.grpc_req_duration = [`p(99)<${P99_MS}`];
  }
  return {
    scenarios: { load: scenario },
    thresholds,
    summaryTrendStats: ['avg', 'min', 'med', 'p(90)', 'p(99)', 'max'],
  };
}

export function member(number) {
  return `load-${String(number).padStart(7, '0')}`;
}

export function anyone() {
  return member(Math.floor(Math.random() * MEMBERS));
}

export function earn(who) {
  return post('Earn', who);
}

export function redeem(who) {
  return post('Redeem', who);
}

// Give members points, so that they are enrolled and can redeem. The program must enrol whoever
// earns (`program.auto_enrol`), or its members must be enrolled.
export function give(members, points) {
  for (let start = 0; start < members.length; start += BATCH) {
    const requests = members.slice(start, start + BATCH).map((who) => ({
      member: who,
      request_id: requestId(),
      operations: [{ earn: { points } }],
    }));
    const answer = call('BatchPost', { program: PROGRAM, requests });
    const refused = answer.message.results.find((each) => each.status);
    if (refused) {
      fail(`nothing could be given: ${JSON.stringify(refused.status)}`);
    }
  }
}

export function everybody() {
  return Array.from({ length: MEMBERS }, (_, number) => member(number));
}

function post(method, who) {
  return call(method, {
    program: PROGRAM,
    member: who,
    request_id: requestId(),
    points: POINTS,
  });
}

function requestId() {
  calls += 1;
  return `k6-${run}-${exec.vu.idInTest}-${calls}`;
}

function call(method, request) {
  if (!TOKEN) {
    fail('TOKEN is not set: `loyalty token` prints one');
  }
  if (!connected) {
    client.connect(ADDRESS, { plaintext: !TLS });
    connected = true;
  }
  const answer = client.invoke(LEDGER + method, request, {
    metadata: { authorization: `Bearer ${TOKEN}` },
    timeout: '10s',
  });
  const good = check(answer, { answered: (each) => each.status === grpc.StatusOK });
  if (!good && answer.error) {
    console.error(`${method}: ${answer.error.code} ${answer.error.message}`);
  }
  return answer;
}
