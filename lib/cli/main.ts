#!/usr/bin/env node
/** The command line: one file a verb. */

import { Command } from 'commander'
import { PalimpsestError } from '../engine/errors.js'

const program = new Command('palimpsest')
  .description('native compute engine for Node.js: optimizers, linear algebra, training')
  .showHelpAfterError()

program
  .command('demo')
  .description('learn five tasks in a row on real handwritten digits, with and without forgetting')
  .option('--quick', 'a few digits only')
  .option('--seeds <n>', 'how many seeds', '1')
  .option('--json', 'print one JSON document')
  .option('--out <file>', 'where the report goes', 'report.html')
  .action(async (options) => {
    const { demo } = await import('./demo.js')
    process.exitCode = await demo(options)
  })

program
  .command('compare-optimizers')
  .description('how many steps AdamW, Muon and NorMuon need on real handwritten digits')
  .option('--network <name>', "only 'MLP' or 'conv net'")
  .option('--quick', 'a few steps only')
  .option('--seeds <n>', 'how many seeds', '4')
  .option('--json', 'print one JSON document')
  .option('--out <file>', 'where the report goes', 'report.html')
  .action(async (options) => {
    const { compareOptimizers } = await import('./compare-optimizers.js')
    process.exitCode = await compareOptimizers(options)
  })

program
  .command('doctor')
  .description('say what was found on this machine, and check that it works')
  .option('--json', 'print one JSON document')
  .action(async (options) => {
    const { doctor } = await import('./doctor.js')
    process.exitCode = doctor(options)
  })

program
  .command('bench')
  .description('run the microbenchmarks beside their peers')
  .argument('[filters...]', "rows whose name contains one of these, such as 'orthogonalize'")
  .option(
    '--peers <list>',
    'torch, sklearn, numpy, openblas, peft, tfjs, jax; all that are there by default',
  )
  .option('--quick', 'few rounds, small sizes only')
  .option('--compare <file>', 'an older --out file to compare with')
  .option('--html <file>', 'write a page with pictures')
  .option('--out <file>', 'write the JSON document to a file')
  .option('--json', 'print one JSON document')
  .action(async (filters, options) => {
    const { bench } = await import('./bench.js')
    process.exitCode = await bench(filters, options)
  })

program
  .command('reproduce')
  .description("show published systems' central claims on small real problems")
  .argument('[system]', "a system's id, or 'all'; none lists them", '')
  .option('--seeds <n>', 'how many seeds', '3')
  .option('--quick', 'a shortened run: shows that it runs')
  .option('--out <folder>', "where each system's page and JSON document go", 'reproduced')
  .option('--json', 'print one JSON document')
  .action(async (system, options) => {
    const { reproduce } = await import('./reproduce.js')
    process.exitCode = await reproduce(system, options)
  })

const continualCommand = program
  .command('continual')
  .description('learn real digits task after task without forgetting')
const continualVerbs = [
  [
    'run',
    'one method on one stream',
    '--strategy <name>',
    "a strategy, or several as 'refresh+er'; an unknown name lists all",
  ],
  [
    'compare',
    'several methods on one stream',
    '--strategies <list>',
    'methods, with commas between; an unknown name lists all',
  ],
] as const
for (const [verb, what, flag, meaning] of continualVerbs) {
  continualCommand
    .command(verb)
    .description(what)
    .requiredOption(flag, meaning)
    .option(
      '--scenario <name>',
      'permuted, rotated, split-class, split-task, split-domain …; online-… passes once',
      'permuted',
    )
    .option('--tasks <n>', 'how many tasks', '5')
    .option('--seeds <n>', 'how many seeds', '1')
    .option('--epochs <n>', 'passes over each task', '1')
    .option('--batch-size <n>', 'examples a step', '32')
    .option('--optimizer <name>', 'sgd or adamw', 'sgd')
    .option('--lr <rate>', 'learning rate', '0.1')
    .option('--hidden <widths>', 'hidden layers of the network', '256,256')
    .option('--head <kind>', "in class streams, outputs that train: 'seen' or 'own'", 'seen')
    .option('--set <strategy.option=value...>', 'options of strategies, such as er.memory=500', [])
    .option('--train <n>', 'at most so many training digits a task')
    .option('--test <n>', 'at most so many test digits a task')
    .option('--checkpoint <folder>', 'save runs here and go on from what is there')
    .option('--out <file>', 'write an HTML report')
    .option('--json', 'print one JSON document')
    .action(async (options) => {
      const { continual } = await import('./continual.js')
      const names: string = options.strategy ?? options.strategies
      process.exitCode = await continual(names.split(','), options)
    })
}

program
  .command('merge')
  .description('merge fine-tuned checkpoints (safetensors) into one, larger than memory or not')
  .argument('<models...>', 'checkpoints, in the order in which they are merged')
  .requiredOption('--out <file>', 'the merged checkpoint')
  .requiredOption('--method <name>', 'average, task-arithmetic, ties or opcm')
  .option('--base <file>', 'the checkpoint that all were fine-tuned from (all methods but average)')
  .option('--scale <x>', 'task-arithmetic (0.3) and ties (1): factor of the merged task vector')
  .option('--density <x>', 'ties: fraction of a task vector that stays (0.2)')
  .option('--alpha <x>', "opcm: fraction of the singular values' sum that is protected (0.5)")
  .option('--json', 'print one JSON document')
  .action(async (models, options) => {
    const { merge } = await import('./merge.js')
    process.exitCode = merge(models, options)
  })

program
  .command('spectrum')
  .description("show how the singular values of a checkpoint's matrices fall off")
  .argument('<file>', 'a safetensors file')
  .option('--filter <text>', 'tensors whose name contains this')
  .option('--json', 'print one JSON document')
  .action(async (file, options) => {
    const { showSpectrum } = await import('./spectrum.js')
    process.exitCode = showSpectrum(file, options)
  })

try {
  await program.parseAsync()
} catch (error) {
  if (!(error instanceof PalimpsestError)) throw error
  process.stderr.write(`${error.name}: ${error.message}\n`)
  process.exitCode = 1
}
