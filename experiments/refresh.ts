/** Refresh learning as a plug-in: does unlearning each batch a little before learning it help? */

import { limited, permuted } from '../lib/continual/index.js'
import { method, onDigits, plotsOf, sgd, theDigits, valuesOf } from './digit-streams.js'
import { type Experiment, overSeeds } from './experiment.js'

const bases = ['er', 'der++', 'ewc'] as const
const rates = [1e-5, 1e-3] as const
/** Firm enough to help, and stable with plain SGD. */
const strength = { 'ewc.lambda': 10 }

const experiment: Experiment = {
  system: 'refresh',
  paper:
    'A Unified and General Framework for Continual Learning (Wang et al., ICLR 2024, arXiv 2403.13249)',
  claim: 'Refresh learning, added to ER, DER++ and EWC, raises accuracy and lowers forgetting.',
  async run(options) {
    const scenario = (seed: number) =>
      limited(permuted(theDigits(), { tasks: 5, seed }), { train: 4000, test: 2000 })
    const results = await onDigits(options, {
      scenario,
      methods: bases.flatMap((base) => [
        method(base, strength),
        ...rates.map((rate) =>
          method(
            `refresh+${base}`,
            { ...strength, 'refresh.rate': rate, 'refresh.samples': 200 },
            `refresh ${rate} + ${base}`,
          ),
        ),
      ]),
      optimizer: sgd(0.1),
      epochs: 1,
      batchSize: 32,
    })
    // The same seed has the same stream, weights and order with and without: differences are paired.
    const gains = bases.flatMap((base) =>
      rates.map((rate) => {
        const plain = valuesOf(results, base)
        const values = valuesOf(results, `refresh ${rate} + ${base}`)
        return overSeeds(
          `gain of refresh ${rate} on ${base}`,
          values.map((value, i) => value - (plain[i] as number)),
          { digits: 4 },
        )
      }),
    )
    const better = gains.filter(({ mean, interval }) => mean > (interval ?? 0))
    const worse = gains.filter(({ mean, interval }) => mean < -(interval ?? 0))
    return {
      measured: [
        ...results.flatMap(({ method: name }) => [
          overSeeds(`${name}: average accuracy`, valuesOf(results, name)),
          overSeeds(`${name}: forgetting`, valuesOf(results, name, 'forgetting')),
        ]),
        ...gains,
      ],
      holds: better.length > worse.length && better.length > 0,
      verdict: `Of ${gains.length} pairs with and without refresh, ${better.length} gained and ${worse.length} lost more than the 95 % interval of the paired difference over ${options.seeds.length} seeds; the mean gain was ${((100 * gains.reduce((sum, { mean }) => sum + mean, 0)) / gains.length).toFixed(2)} points. Five permuted tasks of 4,000 digits, a small network, one epoch; the paper has CIFAR and Tiny-ImageNet with ResNets and up to 50 epochs. The public code's rate of 1e-5 moves parameters by a hundred-thousandth of their norm a step.`,
      plots: plotsOf('Refresh', results, scenario(1), {
        scenario: 'permuted digits, domain-incremental',
        optimizer: 'SGD 0.1, 1 epoch, batches of 32',
        'unlearning rates': rates,
      }),
    }
  },
}

export default experiment
