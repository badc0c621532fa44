/** All experiments by id, loaded when they are asked for. */

import type { Experiment } from './experiment.js'

export const experiments: Record<string, () => Promise<{ default: Experiment }>> = {
  'cl-protocol': () => import('./cl-protocol.js'),
  coso: () => import('./coso.js'),
  dst: () => import('./dst.js'),
  'mnist-baselines': () => import('./mnist-baselines.js'),
  normuon: () => import('./normuon.js'),
  opcm: () => import('./opcm.js'),
  pissa: () => import('./pissa.js'),
  psmt: () => import('./psmt.js'),
  refresh: () => import('./refresh.js'),
  'rehearsal-free': () => import('./rehearsal-free.js'),
  spectra: () => import('./spectra.js'),
  'wd-scaling': () => import('./wd-scaling.js'),
}
