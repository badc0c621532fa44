/**
 * Palimpsest's optimizers as gradient transformations for @jax-js/jax, in the style of optax:
 *
 * ```ts
 * import { grad, tree } from '@jax-js/jax'
 * import { applyUpdates, norMuon } from 'palimpsest/jax'
 *
 * const solver = norMuon(0.02)
 * let state = solver.init(tree.ref(params))
 * const slopes = grad(loss)(tree.ref(params), x, y)
 * ;[updates, state] = solver.update(slopes, state, tree.ref(params))
 * params = applyUpdates(params, updates)
 * ```
 *
 * They compose with @jax-js/optax's own (`chain(clipByGlobalNorm(1), norMuon(0.02))`). As there, arrays
 * that go in are consumed: pass `.ref` of what is needed later. They read values, so that `update`
 * cannot run inside `jit`; the gradients may come from a jitted function.
 */

import { type JsTree, numpy as np, tree } from '@jax-js/jax'
import { checkFinite, checkFunction, checkOptions, requireOptions, wrong } from '../engine/check.js'
import { ArgumentError } from '../engine/errors.js'
import {
  AdamW,
  type AdamWOptions,
  Dion,
  type DionOptions,
  Lion,
  type LionOptions,
  Muon,
  type MuonGroupsOptions,
  type MuonOptions,
  muonGroups,
  NorMuon,
  type NorMuonOptions,
  Optimizer,
  type WholeOptions,
} from '../optim/index.js'

/** The state of a transformation: a tree of arrays. */
export type OptState = JsTree<np.Array>

/** A pair of functions, as in @jax-js/optax. */
export interface GradientTransformation {
  /** The first state for parameters. Consumes them. */
  init<Params extends JsTree<np.Array>>(params: Params): OptState
  /**
   * Turns gradients into updates, which are added to the parameters. Consumes all its arguments.
   * `params` may be left out where nothing decays.
   */
  update<Params extends JsTree<np.Array>>(
    updates: Params,
    state: OptState,
    params?: Params,
  ): [Params, OptState]
}

/** A number, or a function of the number of steps done. */
export type ScalarOrSchedule = number | ((count: number) => number)

/** Which arrays the Muon family gets, and what becomes of the others. */
export interface JaxMuonOptions
  extends Partial<Pick<MuonGroupsOptions<object, object>, 'isHidden' | 'toHidden' | 'toRest'>> {
  /**
   * Of AdamW, which updates vectors, embeddings and the output layer; its `lr` is a factor of the
   * learning rate and 1 by default.
   */
  rest?: Partial<AdamWOptions>
}

type Made = Optimizer<{ lr: number }>
type Bare = { data: Float32Array; shape: number[] }

/** Leaves with their paths ('0.w', 'encoder.kernel'), in the order of tree.flatten. */
function named(value: JsTree<np.Array>, root: string, path = ''): [string, np.Array][] {
  if (value instanceof np.Array) return [[path, value]]
  if (typeof value !== 'object' || value === null) {
    wrong(path ? `${root}.${path}` : root, 'a tree of arrays', value)
  }
  const join = (key: string) => (path ? `${path}.${key}` : key)
  return Object.entries(value).flatMap(([key, child]) =>
    named(child as JsTree<np.Array>, root, join(key)),
  )
}

/** An array's values in memory of our own. Consumes the array. */
function taken(x: np.Array): Float32Array {
  const { dtype } = x
  const data = x.dataSync()
  if (!(data instanceof Float32Array)) {
    throw new ArgumentError(`expected float32 arrays but got ${dtype}`)
  }
  return data.slice()
}

const given = (data: Float32Array, shape: readonly number[]): np.Array =>
  np.array(data as Float32Array<ArrayBuffer>, { shape: [...shape] })

const zerosLike = ({ data, shape }: Bare): Bare => ({ data: new Float32Array(data.length), shape })

/** A learning rate that must be given. */
function checkRate(learningRate: ScalarOrSchedule): ScalarOrSchedule {
  if (typeof learningRate === 'function') return learningRate
  if (typeof learningRate !== 'number')
    wrong('learningRate', 'a number or a schedule', learningRate)
  return checkFinite(learningRate, 'learningRate')
}

/**
 * Any optimizer of palimpsest/optim as a gradient transformation. Its state is a tree: `count`, and
 * for each leaf of the parameters, by path, its buffers.
 *
 * @param make the optimizer for named parameters, with learning rates as factors of `learningRate`
 * @param learningRate multiplies the groups' own `lr`
 */
export function fromOptimizer(
  make: (params: Record<string, Bare>) => Made,
  learningRate: ScalarOrSchedule = 1,
): GradientTransformation {
  checkFunction(make, 'make')
  checkRate(learningRate)
  /** An optimizer over memory of its own, its parameters in the order of the leaves. */
  const build = (leaves: readonly [string, readonly number[]][]) => {
    const params = leaves.map(([name, shape]): [string, Bare] => [
      name,
      { data: new Float32Array(shape.reduce((a, b) => a * b, 1)), shape: [...shape] },
    ])
    const optimizer = make(Object.fromEntries(params))
    if (!(optimizer instanceof Optimizer))
      wrong('make', 'a function that makes an optimizer', optimizer)
    const inOrder = params.map(([, p]) => p)
    const members = optimizer.paramGroups.flatMap((group) => group.params as Bare[])
    const places = members.map((p) => inOrder.indexOf(p))
    const base = optimizer.paramGroups.map(({ lr }) => lr)
    return { optimizer, params: inOrder, names: leaves.map(([name]) => name), places, base }
  }
  let cached: { key: string; built: ReturnType<typeof build> } | null = null
  const builtFor = (leaves: readonly [string, np.Array][]) => {
    const shapes = leaves.map(([name, x]): [string, readonly number[]] => [name, x.shape])
    const key = JSON.stringify(shapes)
    if (cached?.key !== key) cached = { key, built: build(shapes) }
    return cached.built
  }
  /** The optimizer's state as a tree. */
  const stateOf = ({ optimizer, places, names }: ReturnType<typeof build>, count: number) => {
    const { state } = optimizer.stateDict()
    const buffers = places.map((leaf, i): [string, Record<string, np.Array>] => {
      const arrays = Object.entries(state[i] ?? {}).flatMap(([name, value]) =>
        value instanceof Float32Array ? [[name, given(value, [value.length])] as const] : [],
      )
      return [names[leaf] as string, Object.fromEntries(arrays)]
    })
    return { count: np.array(count, { dtype: np.uint32 }), buffers: Object.fromEntries(buffers) }
  }
  const fresh = (built: ReturnType<typeof build>) => {
    // A step of zeros makes all buffers and changes none of them.
    const empty = built.optimizer.stateDict()
    built.optimizer.loadStateDict({ ...empty, state: empty.state.map(() => ({ step: 0 })) })
    for (const { data } of built.params) data.fill(0)
    built.optimizer.step(built.places.map((leaf) => zerosLike(built.params[leaf] as Bare)))
  }
  return {
    init(params) {
      const built = build(named(params, 'params').map(([name, x]) => [name, x.shape]))
      tree.dispose(params)
      fresh(built)
      return stateOf(built, 0)
    },
    update(updates, state, params) {
      const leaves = named(updates, 'updates')
      requireOptions((state as { buffers?: object } | null)?.buffers as object, 'state')
      const built = builtFor(leaves)
      const { optimizer, places, base } = built
      const { count, buffers } = state as {
        count: np.Array
        buffers: Record<string, Record<string, np.Array>>
      }
      const stranger = leaves.find(([name]) => !(name in buffers))
      if (stranger || Object.keys(buffers).length !== leaves.length) {
        throw new ArgumentError(
          `the state is of other parameters: [${Object.keys(buffers)}], the gradients of [${built.names}]`,
        )
      }
      const decays = optimizer.paramGroups.some((g) => (g as { weightDecay?: number }).weightDecay)
      if (decays && !params) throw new ArgumentError('weight decay needs the parameters')
      const steps = Number(count.item())
      const lr = typeof learningRate === 'function' ? learningRate(steps) : learningRate
      optimizer.paramGroups.forEach((group, i) => {
        group.lr = (base[i] as number) * lr
      })
      const saved = optimizer.stateDict()
      optimizer.loadStateDict({
        ...saved,
        state: places.map((leaf) => ({
          step: steps,
          ...Object.fromEntries(
            Object.entries(buffers[built.names[leaf] as string] as Record<string, np.Array>).map(
              ([name, x]) => [name, taken(x)],
            ),
          ),
        })),
      })
      const values = params ? new Map(named(params, 'params')) : null
      const before = values
        ? built.names.map((name) => {
            const x = values.get(name)
            return x ? taken(x) : wrong('params', `the parameter '${name}'`, undefined)
          })
        : null
      built.params.forEach(({ data }, i) => {
        if (before) data.set(before[i] as Float32Array)
        else data.fill(0)
      })
      const structure = tree.structure<np.Array>(updates)
      const shapes = leaves.map(([, x]) => x.shape)
      const grads = leaves.map(
        ([, x], i): Bare => ({ data: taken(x), shape: shapes[i] as number[] }),
      )
      const stepped = optimizer.step(places.map((leaf) => grads[leaf] as Bare))
      const moved = built.params.map(({ data }, i) => {
        const old = before?.[i]
        return given(
          old ? data.map((x, k) => x - (old[k] as number)) : data.slice(),
          shapes[i] as number[],
        )
      })
      return [
        tree.unflatten(structure, moved) as typeof updates,
        stateOf(built, stepped ? steps + 1 : steps),
      ]
    },
  }
}

/** parameters + updates. Consumes both. */
export function applyUpdates<Params extends JsTree<np.Array>>(
  params: Params,
  updates: Params,
): Params {
  const [before, moves] = [named(params, 'params'), named(updates, 'updates')]
  if (moves.length !== before.length || moves.some(([name], i) => name !== before[i]?.[0])) {
    wrong(
      'updates',
      `the leaves [${before.map(([name]) => name)}]`,
      moves.map(([name]) => name),
    )
  }
  return tree.map((p: np.Array, u: np.Array) => p.add(u), params, updates) as Params
}

type Family<Options> = Partial<Omit<Options, 'lr' | 'stateDtype'>> & WholeOptions & JaxMuonOptions

function family<Options extends object>(
  Class: new (groups: never, options: never) => unknown,
  learningRate: ScalarOrSchedule,
  options: Family<Options>,
): GradientTransformation {
  const { rest, isHidden, toHidden, toRest, ...own } = checkOptions(options) as Family<MuonOptions>
  checkOptions(rest, 'rest')
  const lists = {
    ...(isHidden ? { isHidden } : {}),
    ...(toHidden ? { toHidden } : {}),
    ...(toRest ? { toRest } : {}),
  }
  const make = (params: Record<string, Bare>) => {
    const groups = muonGroups(params, {
      hidden: { lr: 1 },
      rest: { weightDecay: 0, lr: 1, ...rest },
      ...lists,
    })
    // jax's layers are x·W with W [in, out].
    return new Class(groups as never, { outputAxis: 'last', ...own } as never) as Made
  }
  return fromOptimizer(make, checkRate(learningRate))
}

/** Muon for hidden matrices ([…in, out]) and AdamW for the rest, as muonGroups splits them. */
export const muon = (learningRate: ScalarOrSchedule, options: Family<MuonOptions> = {}) =>
  family<MuonOptions>(Muon, learningRate, options)

/** NorMuon for hidden matrices ([…in, out]) and AdamW for the rest. */
export const norMuon = (learningRate: ScalarOrSchedule, options: Family<NorMuonOptions> = {}) =>
  family<NorMuonOptions>(NorMuon, learningRate, options)

/** Dion for hidden matrices ([…in, out]) and AdamW for the rest. */
export const dion = (learningRate: ScalarOrSchedule, options: Family<DionOptions> = {}) =>
  family<DionOptions>(Dion, learningRate, options)

/** AdamW; 'weightDecay' and 'betas' as in palimpsest/optim. */
export const adamw = (
  learningRate: ScalarOrSchedule,
  options: Partial<Omit<AdamWOptions, 'lr' | 'stateDtype'>> = {},
) =>
  fromOptimizer(
    (params) => new AdamW(Object.values(params), { ...checkOptions(options), lr: 1 }),
    checkRate(learningRate),
  )

/** Lion. */
export const lion = (
  learningRate: ScalarOrSchedule,
  options: Partial<Omit<LionOptions, 'lr' | 'stateDtype'>> = {},
) =>
  fromOptimizer(
    (params) => new Lion(Object.values(params), { ...checkOptions(options), lr: 1 }),
    checkRate(learningRate),
  )

/** Muon's direction for every array, to be chained with a learning rate: +s·O, no decay. */
export const scaleByMuon = (options: Family<MuonOptions> = {}) =>
  negated(muon(1, withoutDecay(options)))

/** NorMuon's direction, to be chained with a learning rate. */
export const scaleByNorMuon = (options: Family<NorMuonOptions> = {}) =>
  negated(norMuon(1, withoutDecay(options)))

/** A direction decays nothing: another value than 0 would be ignored. */
function withoutDecay<Options extends { weightDecay?: number }>(options: Options): Options {
  if ((checkOptions(options).weightDecay ?? 0) !== 0) {
    wrong('weightDecay', '0, for a direction decays nothing', options.weightDecay)
  }
  return { ...options, weightDecay: 0 }
}

function negated(transformation: GradientTransformation): GradientTransformation {
  return {
    init: (params) => transformation.init(params),
    update(updates, state, params) {
      const [moved, next] = transformation.update(updates, state, params)
      return [tree.map((x: np.Array) => x.mul(-1), moved) as typeof updates, next]
    },
  }
}
