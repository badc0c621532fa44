import { experiments } from '../../experiments/index.js'

/** A shortened run of one seed, and how far it said that it came. */
export async function shortened(id: string) {
  const load = experiments[id]
  if (!load) throw new Error(`no experiment '${id}'`)
  const { default: experiment } = await load()
  let last = 0
  const progress = (_: string, fraction: number) => {
    last = fraction
  }
  const result = await experiment.run({ seeds: [1], quick: true, progress })
  return { experiment, result, last }
}
