/** `palimpsest doctor`: what was found, and whether it computes right. */

import { readFileSync } from 'node:fs'
import { devices } from '../engine/devices.js'
import { binaryInUse } from '../engine/loader.js'
import { native } from '../engine/native.js'
import { orthogonalize } from '../linalg/index.js'
import { Generator } from '../random/index.js'
import { Tensor } from '../tensor/index.js'

/** The package's version. */
export const version = (): string =>
  (
    JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
      version: string
    }
  ).version

/** ‖a·b − float64 product‖ over ‖product‖ for a small random product. */
function productError(): number {
  const g = new Generator(1)
  const n = 33
  const draw = () =>
    Tensor.from({ data: Float32Array.from({ length: n * n }, () => g.normal()), shape: [n, n] })
  const [a, b] = [draw(), draw()]
  const exact = a.to('float64').matmul(b.to('float64'))
  return a.matmul(b).to('float64').sub(exact).norm().item() / exact.norm().item()
}

/** Prints the findings; returns the exit status: 0 only where everything works. */
export function doctor({ json = false }: { json?: boolean }): number {
  const identity = orthogonalize(
    { data: Float32Array.of(2, 0, 0, 2), shape: [2, 2] },
    { steps: 20, coefficients: 'cubic', compute: 'float32' },
  )
  const checks = {
    'product against float64': productError() < 1e-6,
    'orthogonalize gives the identity':
      Math.abs(identity.select(0, 0).select(0, 0).item() - 1) < 1e-3,
  }
  const found = {
    palimpsest: version(),
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    ...binaryInUse(),
    cpu: native.cpu(),
    devices: devices(),
    cuda: devices()
      .filter(({ id }) => id.startsWith('cuda'))
      .map(({ id, name, reason }) => `${id}: ${reason ?? name}`)
      .join('; '),
    checks,
  }
  const good = Object.values(checks).every(Boolean)
  if (json) {
    process.stdout.write(`${JSON.stringify(found, null, 2)}\n`)
  } else {
    const { cpu } = found
    const lines = [
      ['palimpsest', found.palimpsest],
      ['node', `${found.node} on ${found.platform}`],
      ['engine', found.binary],
      ...found.passedOver.map((text) => ['  passed over', text]),
      ['cpu', `${cpu.name}, ${cpu.cores} cores, ${native.threads()} threads`],
      ['level', `${cpu.level} (of ${cpu.levels.join(', ')})`],
      ['cuda', found.cuda],
      ...Object.entries(checks).map(([name, ok]) => [ok ? 'works' : 'FAILS', name]),
    ]
    process.stdout.write(
      `${lines.map(([key, value]) => `${String(key).padEnd(14)}${value}`).join('\n')}\n`,
    )
  }
  return good ? 0 : 1
}
