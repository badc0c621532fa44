/** All rows, one line a family. */

import { rows as continual } from './continual.js'
import { rows as decompositions } from './decompositions.js'
import { rows as fisher } from './fisher.js'
import { rows as layers } from './layers.js'
import { rows as masks } from './masks.js'
import { rows as matmul } from './matmul.js'
import { rows as networks } from './networks.js'
import { rows as optim } from './optim.js'
import { rows as orthogonalize } from './orthogonalize.js'
import { rows as random } from './random.js'
import type { RowMaker } from './row.js'
import { rows as selection } from './selection.js'
import { rows as subspace } from './subspace.js'
import { rows as svd } from './svd.js'
import { rows as train } from './train.js'

export const rows: RowMaker[] = [
  ...continual,
  ...matmul,
  ...orthogonalize,
  ...optim,
  ...random,
  ...selection,
  ...masks,
  ...fisher,
  ...svd,
  ...decompositions,
  ...subspace,
  ...train,
  ...networks,
  ...layers,
]
