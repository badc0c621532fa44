/** Devices that plugins bring: where the plugins are, and opening a device when it is first asked for. */

import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { wrong } from './check.js'
import type { DeviceInfo } from './devices.js'
import { DeviceError } from './errors.js'
import { native } from './native.js'

const require = createRequire(import.meta.url)
const root = fileURLToPath(new URL('../../..', import.meta.url))

/** A device that was opened. */
export interface OpenDevice {
  /** 'cuda:0' */
  readonly id: string
  /** Its number in the addon. */
  readonly number: number
}

/** Each kind of device with the function that finds its plugin or says why there is none. */
const kinds = new Map<string, () => { path: string } | { reason: string }>([['cuda', findCuda]])
const opened = new Map<string, OpenDevice>()

function findCuda(): { path: string } | { reason: string } {
  const platform = `${process.platform}-${process.arch}`
  if (platform !== 'linux-x64') return { reason: `there is no CUDA engine for ${platform}` }
  const explicit = process.env['PALIMPSEST_CUDA']
  if (explicit) return { path: explicit }
  const local = `${root}build/Release/palimpsest-cuda.so`
  if (existsSync(local)) return { path: local }
  const name = `@palimpsest/${platform}-cuda`
  try {
    return { path: require.resolve(`${name}/palimpsest-cuda.so`) }
  } catch {
    return { reason: `the CUDA engine is not installed: npm install ${name}` }
  }
}

/** Makes devices of another kind known. For tests. */
export function addPlugin(kind: string, path: string): void {
  kinds.set(kind, () => ({ path }))
}

/** The devices of all plugins; a kind that has none is listed once, with the reason. */
export function pluginDevices(): DeviceInfo[] {
  return [...kinds].flatMap(([kind, find]): DeviceInfo[] => {
    const none = (reason: string) => [
      { id: kind, name: 'none', features: [], memoryBytes: 0, reason },
    ]
    const plugin = find()
    if ('reason' in plugin) return none(plugin.reason)
    const found = native.pluginDevices(plugin.path)
    if (typeof found === 'string') return none(found)
    return found.map(({ name, features, memoryBytes, reason }, i) => ({
      id: `${kind}:${i}`,
      name,
      features: features.split(','),
      memoryBytes,
      ...(reason ? { reason } : {}),
    }))
  })
}

/** The full name of a device ('cuda' is 'cuda:0'), or null where the text names none. */
export function deviceId(text: string): string | null {
  if (text === 'cpu') return text
  const [, kind, index] = /^([a-z]+)(?::(\d+))?$/.exec(text) ?? []
  return kind && kinds.has(kind) ? `${kind}:${index ?? 0}` : null
}

/** Opens a device, once. Throws DeviceError with the reason where it cannot be used. */
export function openDevice(text: string): OpenDevice {
  if (typeof text !== 'string') wrong('device', 'the name of a device', text)
  const id = deviceId(text)
  const known = opened.get(id ?? '')
  if (known) return known
  const [kind, index] = (id ?? '').split(':')
  const find = kinds.get(kind ?? '')
  if (!find) throw new DeviceError(`there is no device '${text}' ('device'): see devices()`)
  const plugin = find()
  const refuse = (reason: string, cause?: unknown): never => {
    throw new DeviceError(`device '${id}' cannot be used: ${reason}`, { cause })
  }
  if ('reason' in plugin) return refuse(plugin.reason)
  const found = native.pluginDevices(plugin.path)
  if (typeof found === 'string') return refuse(found)
  if (Number(index) >= found.length) return refuse(`there are ${found.length} of its kind`)
  try {
    const device = { id: id as string, number: native.openDevice(plugin.path, Number(index)) }
    opened.set(device.id, device)
    return device
  } catch (error) {
    return refuse((error as Error).message, error)
  }
}
