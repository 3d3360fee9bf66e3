// A Baileys client for the runner: `node --require ./strict.cjs client.mjs WS_URL CONTROL_URL ROOT_KEY PHONE`.
// One JSON object a line: events on standard output, commands {"to","text"} on standard input. Baileys' own chatter goes
// to standard error.
import { createInterface } from 'node:readline'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

console.log = console.info = console.debug = (...args) => console.error(...args)
const { default: makeWASocket, useMultiFileAuthState, WA_CERT_DETAILS, DisconnectReason } = await import(
  '@whiskeysockets/baileys'
)
const { default: pino } = await import('pino')

const [wsUrl, controlUrl, rootKey, phone] = process.argv.slice(2)
const tell = event => process.stdout.write(JSON.stringify(event) + '\n')
WA_CERT_DETAILS.PUBLIC_KEY = Buffer.from(rootKey, 'hex')

const { state, saveCreds } = await useMultiFileAuthState(mkdtempSync(join(tmpdir(), 'wharf-baileys-')))
const sent = new Map()
let socket
let scanned = false

function connect() {
  socket = makeWASocket({
    waWebSocketUrl: wsUrl,
    auth: state,
    logger: pino({ level: process.env.BAILEYS_LOG ?? 'silent' }, process.stderr),
    getMessage: async key => sent.get(key.id),
    syncFullHistory: false,
    shouldSyncHistoryMessage: () => true
  })
  socket.ev.on('creds.update', saveCreds)
  socket.ev.on('connection.update', async update => {
    if (update.qr && !scanned) {
      scanned = true
      const scan = `${controlUrl}/admin/mock-phone/scan-qr?phone=${phone}&name=Baileys`
      const answer = await fetch(scan, { method: 'POST', body: update.qr })
      if (!answer.ok) tell({ event: 'error', why: await answer.text() })
    }
    if (update.connection === 'open') tell({ event: 'open', jid: socket.user?.id })
    if (update.connection === 'close') {
      const code = update.lastDisconnect?.error?.output?.statusCode
      tell({ event: 'close', code, why: String(update.lastDisconnect?.error?.message) })
      if (code === DisconnectReason.restartRequired) connect()
    }
  })
  socket.ev.on('messages.upsert', ({ messages }) => {
    for (const { key, message } of messages) {
      const text = message?.conversation ?? message?.extendedTextMessage?.text
      if (text) tell({ event: 'message', from: key.remoteJid, fromMe: key.fromMe, text })
    }
  })
  socket.ev.on('messages.update', updates => {
    for (const { key, update } of updates) tell({ event: 'status', id: key.id, status: update.status })
  })
}

connect()
createInterface({ input: process.stdin }).on('line', async line => {
  try {
    const { to, text } = JSON.parse(line)
    const message = await socket.sendMessage(`${to}@s.whatsapp.net`, { text })
    sent.set(message.key.id, message.message)
    tell({ event: 'sent', id: message.key.id })
  } catch (error) {
    tell({ event: 'error', why: String(error?.stack ?? error) })
  }
})
