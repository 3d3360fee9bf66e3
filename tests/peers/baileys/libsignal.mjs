// One device that speaks through npm `libsignal`, driven by lines of JSON on stdin: {offer}, {take}, {write}, {read}; one line of
// JSON answers each. Bytes travel as hex.
import { createInterface } from 'node:readline'
import libsignal from 'libsignal'

const { keyhelper, ProtocolAddress, SessionBuilder, SessionCipher } = libsignal
const hex = (bytes) => Buffer.from(bytes).toString('hex')
const bytes = (text) => Buffer.from(text, 'hex')

const identity = keyhelper.generateIdentityKeyPair()
const signed = keyhelper.generateSignedPreKey(identity, 1)
const registrationId = 88
const prekeys = new Map()
let session
let nextPreKey = 1

const storage = {
  loadSession: async () => session,
  storeSession: async (_, record) => { session = record },
  isTrustedIdentity: async () => true,
  loadPreKey: async (id) => prekeys.get(Number(id)),
  removePreKey: async (id) => { prekeys.delete(Number(id)) },
  loadSignedPreKey: async () => signed.keyPair,
  getOurRegistrationId: async () => registrationId,
  getOurIdentity: async () => identity,
}
const address = new ProtocolAddress('wharf', 1)
const cipher = new SessionCipher(storage, address)

const commands = {
  offer: async () => {
    const prekey = keyhelper.generatePreKey(nextPreKey++)
    prekeys.set(prekey.keyId, prekey.keyPair)
    return {
      registration_id: registrationId,
      identity: hex(identity.pubKey),
      signed: { id: signed.keyId, key: hex(signed.keyPair.pubKey), signature: hex(signed.signature) },
      one_time: { id: prekey.keyId, key: hex(prekey.keyPair.pubKey) },
    }
  },
  take: async ({ registration_id, identity, signed, one_time }) => {
    await new SessionBuilder(storage, address).initOutgoing({
      registrationId: registration_id,
      identityKey: bytes(identity),
      signedPreKey: { keyId: signed.id, publicKey: bytes(signed.key), signature: bytes(signed.signature) },
      preKey: one_time ? { keyId: one_time.id, publicKey: bytes(one_time.key) } : undefined,
    })
    return {}
  },
  write: async ({ text }) => {
    const { type, body } = await cipher.encrypt(bytes(text))
    return { bytes: typeof body === 'string' ? hex(Buffer.from(body, 'binary')) : hex(body), is_prekey: type === 3 }
  },
  read: async ({ bytes: sent, is_prekey }) => {
    const read = is_prekey ? cipher.decryptPreKeyWhisperMessage(bytes(sent)) : cipher.decryptWhisperMessage(bytes(sent))
    return read.then((text) => ({ text: hex(text) }), (error) => ({ refused: error.name, why: String(error.message) }))
  },
}

console.log = console.info = console.warn = console.error = () => {}
for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...rest } = JSON.parse(line)
  const answer = await commands[command](rest).catch((error) => ({ error: String(error) }))
  process.stdout.write(JSON.stringify(answer) + '\n')
}
