import { test } from 'tap'
import { killAndResume } from '../../experiments/kill-resume.js'

test('killed and started again, a run ends with the same bits', async (t) => {
  const { same, killed, starts } = await killAndResume(3, 400)
  t.ok(same)
  t.ok(killed > 0, `killed ${killed} times, went on from steps ${starts.join(', ')}`)
})
