/** Scenarios and strategies by name, for the command line: one line each. */

import { checkInteger, checkOptions, requireOptions, wrong } from '../engine/check.js'
import { ArgumentError } from '../engine/errors.js'
import { online, permuted, rotated, type Scenario, type Split, split } from './scenario.js'
import * as all from './strategies/index.js'
import type { Strategy } from './strategy.js'

type Make = (data: Split, options: { tasks: number; seed: number }) => Scenario

/**
 * 'online-' before a name makes the stream pass once. The seed chooses permutations; classes come in
 * ascending order, as in the literature.
 */
export const scenarios: Readonly<Record<string, Make>> = {
  permuted: (data, o) => permuted(data, o),
  'permuted-task': (data, o) => permuted(data, { ...o, setting: 'task' }),
  'permuted-class': (data, o) => permuted(data, { ...o, setting: 'class' }),
  rotated: (data, { tasks }) => rotated(data, { tasks }),
  'split-task': (data, { tasks }) => split(data, { tasks, setting: 'task' }),
  'split-domain': (data, { tasks }) => split(data, { tasks, setting: 'domain' }),
  'split-class': (data, { tasks }) => split(data, { tasks, setting: 'class' }),
}

/** Strategies; each takes the options of its class. */
export const strategies: Readonly<Record<string, (options: object) => Strategy>> = {
  naive: () => new all.Naive(),
  joint: () => new all.Joint(),
  er: (o) => new all.Er(o),
  'der++': (o) => new all.DerPlusPlus(o),
  'a-gem': (o) => new all.AGem(o),
  lwf: (o) => new all.Lwf(o),
  ewc: (o) => new all.Ewc(o),
  'online-ewc': (o) => new all.OnlineEwc(o),
  l2: (o) => new all.L2(o),
  si: (o) => new all.Si(o),
  mas: (o) => new all.Mas(o),
  'pred-kd': (o) => new all.PredKd(o),
  'feat-kd': (o) => new all.FeatKd(o),
  gpm: (o) => new all.Gpm(o),
  coso: (o) => new all.CoSO(o),
  refresh: (o) => new all.Refresh(o),
  dst: (o) => new all.Dst(o),
}

function named<T>(table: Readonly<Record<string, T>>, name: string, argument: string): T {
  const found = Object.hasOwn(table, name) ? table[name] : undefined
  return found ?? wrong(argument, Object.keys(table).join(', '), name)
}

/** The scenario of a name such as 'permuted' or 'online-split-class'. */
export function scenarioNamed(
  name: string,
  data: Split,
  options: { tasks: number; seed: number },
): Scenario {
  if (typeof name !== 'string') wrong('scenario', 'a name', name)
  checkInteger(requireOptions(options).tasks, 'tasks', 1)
  const once = name.startsWith('online-')
  const made = named(scenarios, once ? name.slice(7) : name, 'scenario')(data, options)
  return once ? online(made) : made
}

/**
 * The strategies of a name such as 'er' or 'refresh+ewc'; the order of names is that of hooks.
 *
 * @param settings options by path, such as { 'er.memory': 500 }; those of other strategies are ignored
 */
export function strategiesNamed(
  name: string,
  settings: Readonly<Record<string, unknown>> = {},
): Strategy[] {
  if (typeof name !== 'string') wrong('strategy', 'a name', name)
  checkOptions(settings, 'settings')
  return splitNames(name).map((part) => {
    const own = Object.entries(settings)
      .filter(([path]) => path.startsWith(`${part}.`))
      .map(([path, value]) => [path.slice(part.length + 1), value] as const)
    const strategy = named(strategies, part, 'strategy')(Object.fromEntries(own))
    for (const [key] of own) {
      if (!(key in (strategy.options ?? {}))) {
        throw new ArgumentError(
          `'${part}' has no option '${key}'; it has ${Object.keys(strategy.options ?? {}).join(', ') || 'none'}`,
        )
      }
    }
    return strategy
  })
}

/** 'refresh+der++' is refresh and der++: a plus separates only before a letter. */
const splitNames = (name: string): string[] => name.split(/\+(?=[a-z])/)
