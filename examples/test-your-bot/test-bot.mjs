// A bot, tested without a phone: node test-bot.mjs  (WHARF names the program, "wharf" by default; Node 20)
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const key = 'a-key-of-at-least-thirty-two-letters'
const [support, maria] = ['15550001111', '15550003333']

async function listen(handler) {
  const server = createServer(handler).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return server
}

async function freePort() {
  const server = await listen()
  const { port } = server.address()
  await new Promise(done => server.close(done))
  return port
}

const api = `http://127.0.0.1:${await freePort()}`
const sandbox = `http://127.0.0.1:${await freePort()}`

async function call(method, url, body) {
  const headers = { authorization: `Bearer ${key}` }
  const answer = await fetch(url, { method, headers, body: body && JSON.stringify(body) })
  const text = await answer.text()
  assert(answer.ok, `${method} ${url}: ${answer.status} ${text}`)
  return JSON.parse(text)
}

async function waitFor(ask) {
  for (const end = Date.now() + 10_000; ; await sleep(20)) {
    const found = await ask().catch(() => undefined)
    if (found) return found
    assert(Date.now() < end, 'timed out')
  }
}

// The bot under test: it answers texts, and lets everything else pass.
const bot = await listen(async (request, response) => {
  const parts = []
  for await (const part of request) parts.push(part)
  const event = JSON.parse(Buffer.concat(parts))
  response.writeHead(204).end()
  const { chat, type, text } = event.data
  if (event.type !== 'message.received' || type !== 'text') return
  const reply = { to: chat, type: 'text', text: { body: `You said: ${text.body}` } }
  await call('POST', `${api}/v1/accounts/${event.account}/messages`, reply)
})

async function theBotAnswersTexts() {
  const write = message => call('POST', `${sandbox}/phones/${maria}/messages`, { to: support, ...message })
  await write({ image: { data: 'aGVsbG8=' } })
  await write({ text: 'hello' })
  const read = async () => (await call('GET', `${sandbox}/phones/${maria}/messages`)).data.map(m => m.text)
  assert.deepEqual(await waitFor(async () => (await read()).length && read()), ['You said: hello'])
}

const folder = mkdtempSync(join(tmpdir(), 'bot-'))
const env = {
  ...process.env,
  WHARF__LISTEN: new URL(api).host,
  WHARF__DATA: join(folder, 'data'),
  WHARF__LOG: 'error',
  WHARF__NETWORK__KIND: 'sandbox',
  WHARF__NETWORK__URL: `${sandbox.replace('http', 'ws')}/ws/chat`,
  WHARF_ADMIN_KEY: key,
  RUST_LOG: 'error',
}
const wharf = process.env.WHARF ?? 'wharf'
const run = (...args) => spawn(wharf, args, { env, stdio: ['ignore', 'ignore', 'inherit'] })
const running = [run('sandbox', '--listen', new URL(sandbox).host, '--media', '127.0.0.1:0'), run('serve')]
try {
  await waitFor(async () => (await call('GET', `${api}/readyz`)) && call('GET', `${sandbox}/phones`))
  for (const number of [support, maria]) await call('POST', `${sandbox}/phones`, { number })
  await call('POST', `${api}/v1/accounts`, { id: 'support' })
  await call('POST', `${api}/v1/accounts/support/start`)
  const { code } = await call('GET', `${api}/v1/accounts/support/qr`)
  await call('POST', `${sandbox}/phones/${support}/scan`, { qr: code })
  await waitFor(async () => (await call('GET', `${api}/v1/accounts/support`)).state === 'online')
  const hook = { url: `http://127.0.0.1:${bot.address().port}/`, events: ['message.received'] }
  await call('POST', `${api}/v1/webhooks`, hook)
  await theBotAnswersTexts()
  console.log('ok')
} finally {
  for (const program of running) {
    const exited = once(program, 'exit')
    program.kill()
    await exited
  }
  bot.close()
  bot.closeAllConnections()
  rmSync(folder, { recursive: true })
}
