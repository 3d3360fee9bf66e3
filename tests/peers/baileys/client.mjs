// A Baileys client for the runner: `node --require ./strict.cjs client.mjs WS_URL CONTROL_URL ROOT_KEY PHONE NAME qr|code`.
// One JSON object a line: events on standard output, commands on standard input; both are described in `tests/matrix`.
// Baileys' own chatter goes to standard error. BAILEYS_FOLDER: where the package is installed; MEDIA_HOST: host:port.
import { createHash } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { Agent } from 'node:https'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { connect as connectTls } from 'node:tls'
import { pathToFileURL } from 'node:url'

console.log = console.info = console.debug = (...args) => console.error(...args)
const folder = process.env.BAILEYS_FOLDER ?? import.meta.dirname
const installed = createRequire(join(folder, 'package.json'))
const load = name => import(pathToFileURL(installed.resolve(name)))
const baileys = await load('@whiskeysockets/baileys')
const { default: makeWASocket, useMultiFileAuthState, DisconnectReason, downloadMediaMessage } = baileys
const { default: pino } = await load('pino')

const [wsUrl, controlUrl, rootKey, phone, name, by] = process.argv.slice(2)
const tell = event => process.stdout.write(JSON.stringify(event) + '\n')
// Version 6 checks no root.
if (baileys.WA_CERT_DETAILS?.PUBLIC_KEY) baileys.WA_CERT_DETAILS.PUBLIC_KEY = Buffer.from(rootKey, 'hex')
const logger = pino({ level: process.env.BAILEYS_LOG ?? 'silent' }, process.stderr)

// Version 6 downloads from mmg.whatsapp.net whatever the message says: that name is found at the sandbox.
const [mediaHost, mediaPort] = (process.env.MEDIA_HOST ?? '').split(':')
const httpsAgent = new Agent()
httpsAgent.createConnection = (options, done) =>
  connectTls({ ...options, host: mediaHost, port: Number(mediaPort), servername: 'mmg.whatsapp.net' }, done)

// Version 6 keeps device lists for five minutes, whatever it is told meanwhile.
const forgetful = { get: () => undefined, set: () => true, del: () => 0, flushAll: () => {}, mget: () => ({}), mset: () => true }

const { state, saveCreds } = await useMultiFileAuthState(mkdtempSync(join(tmpdir(), 'wharf-baileys-')))
const sent = new Map()
let socket
let linking = false
let away = false

async function post(url, body) {
  const answer = await fetch(url, { method: 'POST', body })
  if (!answer.ok) tell({ event: 'error', why: await answer.text() })
}

async function link(qr) {
  if (linking) return
  linking = true
  if (by === 'code') {
    const code = await socket.requestPairingCode(phone)
    await new Promise(resolve => setTimeout(resolve, 500))
    await post(`${controlUrl}/admin/mock-phone/enter-code?phone=${phone}&code=${code}`, '')
  } else {
    await post(`${controlUrl}/admin/mock-phone/scan-qr?phone=${phone}&name=${name}`, qr)
  }
}

function connect() {
  socket = makeWASocket({
    waWebSocketUrl: wsUrl,
    auth: state,
    logger,
    getMessage: async key => sent.get(key.id),
    syncFullHistory: false,
    shouldSyncHistoryMessage: () => true,
    markOnlineOnConnect: true,
    ...(process.env.BAILEYS_FOLDER ? { userDevicesCache: forgetful } : {})
  })
  socket.ev.on('creds.update', saveCreds)
  socket.ev.on('connection.update', async update => {
    if (update.qr) link(update.qr).catch(error => tell({ event: 'error', why: String(error?.stack ?? error) }))
    if (update.connection === 'open') tell({ event: 'open', jid: socket.user?.id })
    if (update.connection === 'close') {
      const code = update.lastDisconnect?.error?.output?.statusCode
      tell({ event: code === DisconnectReason.loggedOut ? 'logged_out' : 'close', code })
      if (code === DisconnectReason.restartRequired) connect()
    }
  })
  socket.ev.on('messages.upsert', async ({ messages }) => {
    for (const message of messages) await report(message)
  })
  socket.ev.on('messages.update', updates => {
    for (const { key, update } of updates) {
      if (update.status) tell({ event: 'receipt', ids: [key.id], type: ['', '', 'sent', 'delivered', 'read'][update.status] })
    }
  })
  socket.ev.on('message-receipt.update', updates => {
    for (const { key, receipt } of updates) {
      tell({ event: 'receipt', ids: [key.id], type: receipt.readTimestamp ? 'read' : 'delivered', from: receipt.userJid })
    }
  })
}

async function report(message) {
  const { key } = message
  const content = message.message
  const told = { event: 'message', id: key.id, chat: key.remoteJid, author: key.participant, from_me: !!key.fromMe }
  const protocol = content?.protocolMessage ?? content?.editedMessage?.message?.protocolMessage
  const text = content?.conversation ?? content?.extendedTextMessage?.text
  if (protocol?.type === 0) return tell({ ...told, kind: 'revoke', target: protocol.key.id })
  if (protocol?.type === 14) {
    const edited = protocol.editedMessage
    const now = edited?.conversation ?? edited?.extendedTextMessage?.text
    return tell({ ...told, kind: 'edit', target: protocol.key.id, text: now })
  }
  if (content?.reactionMessage) {
    return tell({ ...told, kind: 'reaction', target: content.reactionMessage.key.id, text: content.reactionMessage.text })
  }
  if (text) return tell({ ...told, kind: 'text', text })
  const medium = content?.imageMessage ?? content?.documentMessage ?? content?.documentWithCaptionMessage?.message?.documentMessage
  if (!medium) return
  const kind = content.imageMessage ? 'image' : 'document'
  try {
    const data = await downloadMediaMessage(message, 'buffer', process.env.BAILEYS_FOLDER ? { options: { httpsAgent } } : {})
    tell({ ...told, kind, text: medium.caption, sha256: createHash('sha256').update(data).digest('hex') })
  } catch (error) {
    tell({ ...told, kind, text: medium.caption, sha256: `not downloaded: ${error}` })
  }
}

const users = numbers => numbers.map(number => `${number}@s.whatsapp.net`)
const send = async (to, content, options) => {
  const message = await socket.sendMessage(to, content, options)
  sent.set(message.key.id, message.message)
  return { id: message.key.id }
}
const keyOf = ({ chat, id, from_me: fromMe, author }) => ({ remoteJid: chat, id, fromMe, participant: author })
const wait = ms => new Promise(resolve => setTimeout(resolve, ms))

const commands = {
  text: ({ to, text }) => send(to, { text }),
  status: ({ text, readers }) => send('status@broadcast', { text }, { statusJidList: users(readers) }),
  react: command => send(command.chat, { react: { key: keyOf(command), text: command.emoji } }),
  edit: ({ chat, id, text }) => send(chat, { text, edit: { remoteJid: chat, id, fromMe: true } }),
  revoke: ({ chat, id }) => send(chat, { delete: { remoteJid: chat, id, fromMe: true } }),
  media: async ({ to, kind, data, text }) => {
    const content =
      kind === 'image'
        ? { image: Buffer.from(data), caption: text, jpegThumbnail: '', width: 1, height: 1 }
        : { document: Buffer.from(data), mimetype: 'text/plain', fileName: 'notes.txt', caption: text }
    // Version 6 may read its encrypted file before it is written to the end; the media host refuses what has another hash.
    for (let tries = process.env.BAILEYS_FOLDER ? 5 : 1; ; tries--) {
      try {
        return await send(to, content)
      } catch (error) {
        if (tries === 1) throw error
      }
    }
  },
  read: async command => {
    await socket.readMessages([keyOf({ ...command, from_me: false })])
    return {}
  },
  create_group: async ({ subject, participants }) => ({ group: (await socket.groupCreate(subject, users(participants))).id }),
  add: async ({ group, participants }) => ({ result: await socket.groupParticipantsUpdate(group, users(participants), 'add') }),
  remove: async ({ group, participants }) => ({ result: await socket.groupParticipantsUpdate(group, users(participants), 'remove') }),
  leave_for_a_while: async () => {
    away = true
    socket.end(undefined)
    return {}
  },
  come_back: async () => {
    if (away) connect()
    away = false
    for (let i = 0; i < 300 && !socket.user?.id; i++) await wait(100)
    return {}
  },
  logout: async () => {
    await socket.logout()
    return {}
  }
}

connect()
createInterface({ input: process.stdin }).on('line', async line => {
  const command = JSON.parse(line)
  try {
    tell({ event: 'done', tag: command.tag, ...(await commands[command.do](command)) })
  } catch (error) {
    tell({ event: 'error', tag: command.tag, why: String(error?.stack ?? error) })
  }
})
