// Earnings of members chosen at random.

import { anyone, earn, options as chosen } from './common.js';

export const options = chosen();

export default function () {
  earn(anyone());
}
