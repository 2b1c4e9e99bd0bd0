// Earnings and redemptions, in turn, of one member: what a fleet's account or a fraud looks like.

import { earn, give, member, options as chosen, redeem } from './common.js';

export const options = chosen();

const HOT = member('hot');
let turns = 0;

export function setup() {
  give([HOT], 1000000);
}

export default function () {
  turns += 1;
  if (turns % 2) {
    earn(HOT);
  } else {
    redeem(HOT);
  }
}
