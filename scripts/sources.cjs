// The sources of one part, by the convention that CMakeLists.txt follows too: every .cpp below
// native/core, native/ops and native/cpu is the engine's, and a file named after an instruction set is
// compiled for it. Prints one path a word.
const { readdirSync } = require('node:fs')
const { basename, join } = require('node:path')

const levels = ['avx2', 'avx512', 'avx512bf16', 'amx', 'neon']
const root = join(__dirname, '..')
const below = (folder) =>
  readdirSync(join(root, folder), { recursive: true })
    .filter((file) => file.endsWith('.cpp'))
    .map((file) => `${folder}/${file}`.replaceAll('\\', '/'))

const [part] = process.argv.slice(2)
const engine = ['native/core', 'native/ops', 'native/cpu'].flatMap(below)
const levelOf = (file) => levels.find((level) => basename(file, '.cpp') === level)
const fits = process.arch === 'x64' ? (level) => level !== 'neon' : (level) => level === 'neon'

let files
if (part === 'addon') files = below('native/addon')
else if (part === 'base')
  files = engine.filter((file) => !levelOf(file) || (levelOf(file) === 'neon' && fits('neon')))
else files = engine.filter((file) => levelOf(file) === part && fits(part))
// A library needs a source, even where the instruction set is another architecture's.
if (files.length === 0) files = ['native/core/context.cpp']
console.log(files.join('\n'))
