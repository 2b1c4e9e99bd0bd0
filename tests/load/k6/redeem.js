// Redemptions of members chosen at random, who are given points beforehand.

import { anyone, everybody, give, options as chosen, redeem } from './common.js';

export const options = chosen();

export function setup() {
  give(everybody(), 1000000);
}

export default function () {
  redeem(anyone());
}
