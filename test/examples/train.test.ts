import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { test } from 'tap'

/** What the quick form of each example prints: a finite figure. */
const examples: [name: string, argument: string[], printed: RegExp][] = [
  ['digits', ['mlp'], /accuracy (\d+\.\d+) % on 100/],
  ['digits', ['conv'], /accuracy (\d+\.\d+) % on 100/],
  ['digits', ['vit'], /accuracy (\d+\.\d+) % on 100/],
  ['gpt', [], /loss (\d\.\d+) a token[\s\S]*The whale /],
]

for (const [name, argument, printed] of examples) {
  test(`examples/${name} ${argument}`, async (t) => {
    const path = fileURLToPath(new URL(`../../examples/${name}.js`, import.meta.url))
    const command = [path, ...argument, '--quick']
    const { stdout } = await promisify(execFile)(process.execPath, command)
    const [, figure] = printed.exec(stdout) ?? []
    t.ok(Number(figure) > 0, stdout.trim())
  })
}
