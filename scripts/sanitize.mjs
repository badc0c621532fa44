// Builds the engine and its unit tests under each sanitizer and runs them; prints their TAP.
import { nativeTests } from './native-tests.mjs'

const wanted = process.argv.slice(2)
for (const sanitizers of wanted.length > 0 ? wanted : ['address,undefined', 'thread']) {
  nativeTests(`build/sanitize-${sanitizers.replace(',', '-')}`, [
    `-DPALIMPSEST_SANITIZE=${sanitizers}`,
    '-DCMAKE_CXX_FLAGS_RELEASE=-O1',
  ])
}
