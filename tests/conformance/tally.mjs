// What a run of the suite came to: node tally.mjs CHECKOUT RESULTS → a JSON list of {id, kind, ok, why}.
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'

const [checkout, results] = process.argv.slice(2)
const { default: suites } = await import(pathToFileURL(path.resolve(checkout, 'tests/index.mjs')))
const said = fs.readFileSync(results, 'utf8')
const outcomes = JSON.parse(said.slice(said.indexOf('{')))

const rows = suites.flatMap((suite) => suite.tests)
  .filter((test) => !test.browser_only)
  .map((test) => {
    const outcome = outcomes[test.id]
    const ok = outcome === true
    return { id: test.id, kind: test.kind || 'required', ok, why: ok ? '' : String(outcome) }
  })
process.stdout.write(JSON.stringify(rows))
