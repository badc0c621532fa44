/** All experiments by id, loaded when they are asked for. */

import type { Experiment } from './experiment.js'

export const experiments: Record<string, () => Promise<{ default: Experiment }>> = {
  'rehearsal-free': () => import('./rehearsal-free.js'),
  refresh: () => import('./refresh.js'),
  'cl-protocol': () => import('./cl-protocol.js'),
  'mnist-baselines': () => import('./mnist-baselines.js'),
  normuon: () => import('./normuon.js'),
  'wd-scaling': () => import('./wd-scaling.js'),
  coso: () => import('./coso.js'),
  opcm: () => import('./opcm.js'),
  pissa: () => import('./pissa.js'),
  spectra: () => import('./spectra.js'),
  dst: () => import('./dst.js'),
  psmt: () => import('./psmt.js'),
}
