// The page of a one-time link: shows what to do, hands the proof on, and shows the code to compare.
'use strict'

const base = location.pathname.replace(/\/$/, '')
const byId = id => document.getElementById(id)
const show = (id, shown) => { byId(id).hidden = !shown }
const say = text => { byId('message').textContent = text }
let answered = false

// What runs in WhatsApp's own tab. Its page may not talk to this server, so the proof travels in the address, behind the #.
const script = options => `(async () => {
  const options = ${JSON.stringify(options)}
  const bytes = text => Uint8Array.from(atob(text.replace(/-/g, '+').replace(/_/g, '/')), c => c.charCodeAt(0))
  await new Promise(done => addEventListener('click', done, { once: true, capture: true }))
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON
    ? PublicKeyCredential.parseRequestOptionsFromJSON(options)
    : { ...options, challenge: bytes(options.challenge),
        allowCredentials: (options.allowCredentials || []).map(it => ({ ...it, id: bytes(it.id) })) }
  const credential = await navigator.credentials.get({ publicKey })
  location.href = ${JSON.stringify(location.origin + base)} + '#' + encodeURIComponent(JSON.stringify(credential.toJSON()))
})()`

const post = (path, body) => fetch(base + path, { method: 'POST', headers: { 'content-type': 'application/json' }, body })

const problem = async answer => {
  const told = await answer.json().catch(() => ({}))
  say(told.detail || `That did not work (${answer.status}).`)
}

const handOver = async () => {
  const proof = decodeURIComponent(location.hash.slice(1))
  history.replaceState(null, '', base)
  if (!proof) return
  const answer = await post('/assertion', proof)
  if (answer.ok) answered = true
  else await problem(answer)
}

const refresh = async () => {
  const answer = await fetch(base + '/state')
  if (answer.status === 404) {
    ;['about', 'steps', 'compare'].forEach(id => show(id, false))
    byId('expires').textContent = ''
    say(answered ? 'Done: the account is being linked. This page can be closed.' : 'This link is used up or has expired.')
    return
  }
  const told = await answer.json()
  byId('account').textContent = told.account
  show('about', true)
  show('steps', Boolean(told.options))
  show('compare', Boolean(told.code))
  byId('expires').textContent = told.options ? `The request expires at ${new Date(told.expires_at).toLocaleTimeString()}.` : ''
  if (told.options) {
    byId('script').textContent = script(told.options)
    say('')
  } else if (told.code) {
    byId('code').textContent = told.code
    answered = true
    say('')
  } else {
    answered = true
    say('The proof is with WhatsApp. Keep the app open on the phone…')
  }
  setTimeout(refresh, 2000)
}

byId('copy').addEventListener('click', () => navigator.clipboard.writeText(byId('script').textContent).then(() => say('Copied.')))
byId('confirm').addEventListener('click', async () => {
  const answer = await post('/confirm', '')
  if (!answer.ok) await problem(answer)
})

handOver().then(refresh)
