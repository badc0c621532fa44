#!/usr/bin/env node
/** The command line: one file a verb. */

import { Command } from 'commander'
import { PalimpsestError } from '../engine/errors.js'

const program = new Command('palimpsest')
  .description('native compute engine for Node.js: optimizers, linear algebra, training')
  .showHelpAfterError()

program
  .command('demo')
  .description('train two networks on real handwritten digits with AdamW, Muon and NorMuon')
  .option('--quick', 'a few steps only')
  .option('--json', 'print one JSON document')
  .option('--out <file>', 'where the report goes', 'report.html')
  .option('--seed <n>', 'seed of weights and order', '1')
  .action(async (options) => {
    const { demo } = await import('./demo.js')
    process.exitCode = await demo(options)
  })

program
  .command('doctor')
  .description('say what was found on this machine, and check that it works')
  .option('--json', 'print one JSON document')
  .action(async (options) => {
    const { doctor } = await import('./doctor.js')
    process.exitCode = doctor(options)
  })

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof PalimpsestError)) throw error
  process.stderr.write(`${error.name}: ${error.message}\n`)
  process.exitCode = 1
}
