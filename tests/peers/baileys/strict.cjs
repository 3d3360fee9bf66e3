// npm's libsignal returns false for a wrong signature where Baileys only catches exceptions: stock Baileys accepts any.
// Loaded before everything else, this makes a wrong signature throw, and proves that it does.
const { createRequire } = require('node:module')
const { join } = require('node:path')
const installed = createRequire(join(process.env.BAILEYS_FOLDER ?? __dirname, 'package.json'))
const curve = installed('libsignal/src/curve.js')
const verify = curve.verifySignature
curve.verifySignature = (...args) => {
  const valid = verify(...args)
  if (!valid) throw new Error('wrong signature')
  return valid
}
const pair = curve.generateKeyPair()
const signature = Buffer.from(curve.calculateSignature(pair.privKey, Buffer.from('proof')))
curve.verifySignature(pair.pubKey, Buffer.from('proof'), signature)
signature[0] ^= 1
let refused = false
try {
  curve.verifySignature(pair.pubKey, Buffer.from('proof'), signature)
} catch {
  refused = true
}
if (!refused) throw new Error('strict signatures are not in place')
