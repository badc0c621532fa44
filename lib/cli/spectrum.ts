/** `palimpsest spectrum`: how the singular values of a checkpoint's matrices fall off. */

import { openSafetensors } from '../io/index.js'
import { alphaReq, rankMe, spectrum } from '../subspace/spectra.js'
import { formatTable } from './table.js'

/** Options of the command. */
export interface SpectrumCommand {
  filter?: string
  json?: boolean
}

/** Looks at every matrix; returns the exit status. */
export function showSpectrum(path: string, options: SpectrumCommand): number {
  const file = openSafetensors(path)
  try {
    const found = file.names.flatMap((name) => {
      const { shape, type } = file.info(name)
      const matrix = shape.length >= 2 && /^(F64|F32|F16|BF16)$/.test(type)
      if (!matrix || !name.includes(options.filter ?? '')) return []
      const x = file
        .read(name)
        .to('float32')
        .reshape(shape[0] as number, -1)
      const values = spectrum(x, { center: false })
      const stable = values.reduce((sum, s) => sum + s * s, 0) / (values[0] as number) ** 2
      return [
        {
          name,
          shape: [...shape],
          largest: values[0] as number,
          rankMe: rankMe(values),
          stableRank: stable,
          alpha: alphaReq(values),
        },
      ]
    })
    const rows = found.map((f) => [
      f.name,
      f.shape.join('×'),
      f.largest.toPrecision(4),
      f.rankMe.toFixed(1),
      f.stableRank.toFixed(1),
      f.alpha.toFixed(2),
    ])
    process.stdout.write(
      options.json
        ? `${JSON.stringify({ path, tensors: found })}\n`
        : `${formatTable(['tensor', 'shape', 'σ₁', 'RankMe', 'stable rank', 'α'], rows, 2)}\n`,
    )
    return 0
  } finally {
    file.close()
  }
}
