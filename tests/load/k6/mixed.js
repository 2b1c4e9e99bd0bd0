// Seven earnings to three redemptions. As in life, few members do most of it: the member of rank n
// comes 1/n as often as the first (Zipf).

import { earn, everybody, give, member, options as chosen, redeem } from './common.js';

export const options = chosen();

const weights = [];
everybody().forEach((_, rank) => weights.push((weights[rank - 1] || 0) + 1 / (rank + 1)));

export function setup() {
  give(everybody(), 1000000);
}

function someone() {
  const wanted = Math.random() * weights[weights.length - 1];
  let [low, high] = [0, weights.length - 1];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    if (weights[middle] < wanted) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return member(low);
}

export default function () {
  if (Math.random() < 0.7) {
    earn(someone());
  } else {
    redeem(someone());
  }
}
